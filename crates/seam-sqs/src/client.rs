//! The clients of one endpoint: one for calls that end at once, and one for long polls.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{
    Builder, Credentials, IdentityCache, ProvideCredentials, Region, SharedCredentialsProvider,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use seam_core::{Endpoint, Error, Result};

use crate::config::Config;

/// What calls SQS.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) calls: Client,
    pub(crate) polls: Client,
}

impl Clients {
    /// Clients with credentials of `provider`, of the URI, or of the standard chain.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or credentials that cannot be had.
    pub(crate) async fn new(
        endpoint: &Endpoint,
        config: &Config,
        provider: Option<SharedCredentialsProvider>,
    ) -> Result<Self> {
        let http = http(endpoint)?;
        let provider = match (provider, endpoint.user()) {
            (Some(provider), _) => provider,
            (None, Some(key)) => {
                let secret = endpoint.load_password()?;
                let secret = secret.as_ref().map_or("", seam_core::Secret::expose);
                SharedCredentialsProvider::new(Credentials::new(key, secret, None, None, "URI"))
            }
            (None, None) => chain(&http, &config.region).await?,
        };
        // Once here, so that what is wrong with it is told when it is opened.
        provider.provide_credentials().await.map_err(|error| Error::Denied {
            endpoint: endpoint.to_string(),
            reason: format!("there are no credentials that can be used: {error}"),
        })?;
        let base = base(&http, config, provider);
        let client = |attempt| {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(config.connect_timeout.min(LONGEST_CONNECT))
                .operation_attempt_timeout(attempt)
                .build();
            Client::from_conf(base.clone().timeout_config(timeouts).build())
        };
        Ok(Self { calls: client(LONGEST_CALL), polls: client(WAIT + LONGEST_CALL) })
    }
}

/// How long a poll waits for something to come: what SQS waits at most.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// How long a call may take, beside what it waits for.
pub(crate) const LONGEST_CALL: Duration = Duration::from_secs(10);

/// Shorter than AWS keeps a connection, so that no call goes out on one that is just being closed.
const LONGEST_IDLE: Duration = Duration::from_secs(15);

const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// Nothing is repeated below us: who may repeat it is known only here.
fn base(http: &SharedHttpClient, config: &Config, provider: SharedCredentialsProvider) -> Builder {
    let mut base = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .credentials_provider(provider)
        .identity_cache(IdentityCache::lazy().build())
        .http_client(http.clone())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    base.set_endpoint_url(config.url.clone());
    base
}

async fn chain(http: &SharedHttpClient, region: &str) -> Result<SharedCredentialsProvider> {
    let loading = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .region(Region::new(region.to_owned()));
    let missing = || Error::NotFound {
        what: "a source of AWS credentials".to_owned(),
        remedy: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role".to_owned(),
    };
    loading.load().await.credentials_provider().ok_or_else(missing)
}

fn http(endpoint: &Endpoint) -> Result<SharedHttpClient> {
    let builder = aws_smithy_http_client::Builder::new().pool_idle_timeout(LONGEST_IDLE);
    if endpoint.scheme() == "sqs+http" && endpoint.user().is_some() {
        // Reading the platform's authorities takes longer than all else.
        return Ok(builder.build_http());
    }
    let mut store = TrustStore::empty();
    store = match endpoint.path("ca") {
        None => store.with_native_roots(true),
        Some(path) => {
            let pem = std::fs::read(path).ok().filter(|pem| is_certificate(pem));
            store.with_pem_certificate(pem.ok_or_else(|| Error::NotFound {
                what: format!("a certificate in the file of `ca`, {}", path.display()),
                remedy: "give a PEM file of the authorities to trust".to_owned(),
            })?)
        }
    };
    let context = TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| Error::invalid_endpoint(format!("`ca`: {error}")))?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}

fn is_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|window| window == BEGIN)
}
