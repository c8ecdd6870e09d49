//! SQS under faults: a real queue of LocalStack, behind a proxy that counts calls and spoils them.

mod partial;
mod place;
mod visibility;
