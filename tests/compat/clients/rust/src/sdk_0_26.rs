//! What has moved between the versions of the SDK: as 0.26 has it, which knows no triggers any more.
//! What they did is asked of the engine by a call.

use std::{collections::HashMap, time::Duration};

use iii_sdk::runtime::WorkerMetadata;
use iii_sdk::{
    register_worker, CallAction, CallRequest, Error, IIIClient, InitOptions, InvocationError, Source,
};
use serde_json::{json, Value};

use crate::connection::text;

/// The id of a trigger.
pub type Binding = Value;

pub fn connect(
    url: &str,
    name: &str,
    headers: Option<HashMap<String, String>>,
    namespace: Option<String>,
) -> IIIClient {
    let metadata = WorkerMetadata { name: name.into(), ..WorkerMetadata::default() };
    register_worker(url, InitOptions { metadata: Some(metadata), headers, namespace, ..InitOptions::default() })
}

pub async fn call(iii: &IIIClient, words: &Value) -> Result<Value, Error> {
    let action = match words["queue"].as_str() {
        Some(queue) => Some(CallAction::Enqueue { queue: queue.into() }),
        None if words["void"] == true => Some(CallAction::Void),
        None => None,
    };
    // Null is no metadata.
    let mut request = CallRequest {
        function_id: text(words, "function_id"),
        payload: words["payload"].clone(),
        action,
        timeout_ms: words["timeout_ms"].as_u64(),
    }
    .metadata(words["metadata"].clone());
    if let Some(namespace) = words["namespace"].as_str() {
        request = request.namespace(namespace);
    }
    iii.call(request).await
}

pub async fn bind(iii: &IIIClient, words: &Value) -> Result<Binding, Error> {
    let mut payload = json!({
        "trigger_type": words["type"], "function_id": words["function_id"], "config": words["config"],
    });
    if !words["metadata"].is_null() {
        payload["metadata"] = words["metadata"].clone();
    }
    let made = iii.call(CallRequest::new("engine::register_trigger", payload)).await?;
    Ok(made["id"].clone())
}

pub async fn unbind(iii: &IIIClient, binding: Binding) -> Result<(), Error> {
    iii.call(CallRequest::new("engine::unregister_trigger", json!({ "id": binding }))).await?;
    Ok(())
}

pub struct Bell;

impl Bell {
    pub fn bindings(&self) -> Value {
        json!([])
    }
}

pub fn provide(_iii: &IIIClient, _trigger_type: &str) -> Result<Bell, String> {
    Err("no trigger types in this version".into())
}

pub fn withdraw(_iii: &IIIClient, _trigger_type: &str) {}

/// How an observer that the engine cannot serve ends.
pub async fn observe(iii: &IIIClient, words: &Value) -> Result<Value, String> {
    let handle = iii.observe(Source::function(text(words, "source")), text(words, "target"));
    let timeout = Duration::from_millis(words["timeout_ms"].as_u64().unwrap_or(0));
    match tokio::time::timeout(timeout, handle.ready()).await {
        Ok(Ok(())) => Ok(json!({ "state": "active" })),
        Ok(Err(error)) => {
            let code = error.invocation_error().map(|InvocationError { code, .. }| code);
            Ok(json!({ "code": code }))
        }
        Err(_) => Err("the observer never settled".into()),
    }
}
