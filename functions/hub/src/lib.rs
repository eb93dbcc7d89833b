//! What the hub's Lambda functions share: configuration, events, the protocol, the tables and the fan-out.

pub mod aws;
pub mod clock;
pub mod config;
pub mod deadline;
mod endpoint;
pub mod event;
pub mod failure;
pub mod fanout;
pub mod function;
pub mod grant;
pub mod history;
pub mod http;
pub mod invocation;
pub mod messenger;
pub mod metrics;
pub mod posts;
pub mod protocol;
pub mod registry;
pub mod responder;
pub mod sender;
pub mod stragglers;
pub mod subscriptions;
mod table;
pub mod telemetry;
mod throttling;
pub mod tls;
