//! The topic: found, created, held against what the endpoint asks for, deleted. All of it blocks.

use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer};
use seam_core::{Error, Result};

use crate::config::Config;
use crate::failure;
use crate::heard::Heard;
use crate::topic::{Rules, Topic};

/// The topic that `config` names, which is there and has a leader for each partition afterwards. Gives up once it is
/// not `wanted` any more.
pub(crate) fn ensure(
    native: &ClientConfig,
    config: &Config,
    endpoint: &str,
    wanted: &dyn Fn() -> bool,
) -> Result<Topic> {
    // A little before core gives up, so that what was found out is told.
    let until = Instant::now() + config.connect_timeout.mul_f64(0.9);
    let probe = Probe::new(native, endpoint)?;
    let mut created = false;
    let mut last = None;
    while wanted() && Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now());
        match probe.look(config, left.min(STEP))? {
            Found::Topic(partitions) => {
                return Ok(Topic {
                    name: config.topic.clone(),
                    partitions,
                    cluster: probe.cluster(),
                    rules: rules(native, config, endpoint),
                });
            }
            Found::Nothing if config.declare && !created => {
                create(native, config, endpoint)?;
                created = true;
            }
            Found::Nothing if !created => {
                return Err(failure::of_code(endpoint, Code::UnknownTopicOrPartition));
            }
            Found::Nothing => {}
            Found::Nobody(error) => last = Some(error),
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(last.unwrap_or_else(|| failure::of_code(endpoint, Code::OperationTimedOut)))
}

/// Deletes the topic and that of its replies. That there is none is no error.
pub(crate) fn delete(native: &ClientConfig, config: &Config, endpoint: &str) -> Result<()> {
    reach(native, config, endpoint)?;
    let admin = admin(native, endpoint)?;
    let topics = [&*config.topic, &*config.replies];
    let topics = if config.replies_given { &topics[..1] } else { &topics };
    let results = block_on(admin.delete_topics(topics, &options(config)));
    for result in results.map_err(|error| failure::error(endpoint, error))? {
        match result {
            Ok(_) | Err((_, Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {}
            // Whoever may not see whether there is one has not created it.
            Err((name, Code::TopicAuthorizationFailed)) if name == config.replies => {}
            Err((_, code)) => return Err(failure::of_code_lacking(endpoint, code, "DELETE")),
        }
    }
    Ok(())
}

/// Waits for a broker that answers, since what deletes does not tell why none does.
fn reach(native: &ClientConfig, config: &Config, endpoint: &str) -> Result<()> {
    let until = Instant::now() + config.connect_timeout.mul_f64(0.9);
    let probe = Probe::new(native, endpoint)?;
    loop {
        match probe.ask(config, until.saturating_duration_since(Instant::now()).min(STEP))? {
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
            Ok(_) => return Ok(()),
        }
    }
}

fn create(native: &ClientConfig, config: &Config, endpoint: &str) -> Result<()> {
    let admin = admin(native, endpoint)?;
    // What is left out, the broker decides.
    let replication = TopicReplication::Fixed(config.replication.unwrap_or(-1));
    let mut topic = NewTopic::new(&config.topic, config.partitions.unwrap_or(-1), replication);
    for (name, value) in config.settings {
        topic = topic.set(name, value);
    }
    let results = block_on(admin.create_topics(&[topic], &options(config)));
    for result in results.map_err(|error| failure::error(endpoint, error))? {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((_, Code::InvalidReplicationFactor)) => {
                return Err(Error::invalid_endpoint(
                    "`replication` is more than the cluster has brokers",
                ));
            }
            Err((_, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => {
                return Err(Error::Denied {
                    endpoint: endpoint.to_owned(),
                    reason: "there is no such topic, and the user lacks permission CREATE"
                        .to_owned(),
                });
            }
            Err((_, code)) => return Err(failure::of_code(endpoint, code)),
        }
    }
    Ok(())
}

/// What the topic takes. Where a user may not ask, or a broker does not answer, it is what brokers do by themselves.
fn rules(native: &ClientConfig, config: &Config, endpoint: &str) -> Rules {
    let Ok(admin) = admin(native, endpoint) else { return Rules::default() };
    let topic = ResourceSpecifier::Topic(&config.topic);
    let patience = ASKING.min(config.connect_timeout / 4);
    let options = AdminOptions::new().request_timeout(Some(patience));
    let answers = block_on(admin.describe_configs(&[topic], &options));
    let settings = answers.ok().and_then(|answers| answers.into_iter().next()?.ok());
    settings.as_ref().map_or_else(Rules::default, Rules::of)
}

fn options(config: &Config) -> AdminOptions {
    let patience = Some(config.connect_timeout);
    AdminOptions::new().request_timeout(patience).operation_timeout(patience)
}

fn admin(native: &ClientConfig, endpoint: &str) -> Result<AdminClient<DefaultClientContext>> {
    native.create().map_err(|error| failure::error(endpoint, error))
}

/// A client that only asks.
struct Probe<'a> {
    client: BaseProducer<Heard>,
    endpoint: &'a str,
}

/// What a look at the topic found.
enum Found {
    /// The topic, with so many partitions.
    Topic(i32),
    /// A broker, and no such topic, or not all of it yet.
    Nothing,
    /// No broker that answered.
    Nobody(Error),
}

impl<'a> Probe<'a> {
    fn new(native: &ClientConfig, endpoint: &'a str) -> Result<Self> {
        let client = native.create_with_context(Heard::new(endpoint));
        Ok(Self { client: client.map_err(|error| failure::error(endpoint, error))?, endpoint })
    }

    /// The id of the cluster, once it has answered.
    fn cluster(&self) -> String {
        self.client.client().fetch_cluster_id(Duration::ZERO).unwrap_or_default()
    }

    /// Asks a broker for the topic; where none answers, why that is. What a client gets over is no error yet.
    fn ask(&self, config: &Config, patience: Duration) -> Result<Result<Metadata>> {
        let error = match self.client.client().fetch_metadata(Some(&config.topic), patience) {
            Ok(metadata) => return Ok(Ok(metadata)),
            Err(error) => error,
        };
        // Takes in all that it has to say, a refusal of each address of a host first.
        self.client.poll(Duration::from_millis(50));
        match self.client.context().error() {
            Some((refusal, true)) => Err(refusal),
            Some((heard, false)) => Ok(Err(heard)),
            None => Ok(Err(failure::error(self.endpoint, error))),
        }
    }

    fn look(&self, config: &Config, patience: Duration) -> Result<Found> {
        let metadata = match self.ask(config, patience)? {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Found::Nobody(error)),
        };
        let topics = metadata.topics();
        let Some(topic) = topics.iter().find(|topic| topic.name() == config.topic) else {
            return Ok(Found::Nothing);
        };
        match topic.error().map(Code::from) {
            None => {}
            Some(Code::UnknownTopicOrPartition | Code::LeaderNotAvailable) => {
                return Ok(Found::Nothing);
            }
            Some(code) => return Err(failure::of_code_lacking(self.endpoint, code, "DESCRIBE")),
        }
        let partitions = topic.partitions();
        if partitions.is_empty() || partitions.iter().any(|partition| partition.leader() < 0) {
            return Ok(Found::Nothing);
        }
        let replicas = partitions.iter().map(|partition| partition.replicas().len()).min();
        let what = || format!("topic {}", config.topic);
        same(what, "partitions", partitions.len(), config.partitions)?;
        same(what, "replicas", replicas.unwrap_or(0), config.replication)?;
        let count = i32::try_from(partitions.len());
        count
            .map(Found::Topic)
            .map_err(|_| Error::invalid_endpoint("a topic of too many partitions"))
    }
}

/// How long one question may take.
const STEP: Duration = Duration::from_millis(500);

/// How long a broker has to tell the settings of a topic. A good one takes milliseconds; the opening waits for it.
const ASKING: Duration = Duration::from_secs(2);

fn same(what: impl Fn() -> String, unit: &str, found: usize, wanted: Option<i32>) -> Result<()> {
    match wanted {
        Some(wanted) if usize::try_from(wanted) != Ok(found) => Err(Error::Mismatch {
            what: what(),
            found: format!("{found} {unit}"),
            wanted: wanted.to_string(),
        }),
        _ => Ok(()),
    }
}
