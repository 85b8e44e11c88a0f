//! What has moved between the versions of the SDK: as 0.22 has it.

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use async_trait::async_trait;
use iii_sdk::protocol::{RegisterTriggerInput, TriggerRequest};
use iii_sdk::runtime::WorkerMetadata;
use iii_sdk::trigger::{Trigger, TriggerConfig, TriggerHandler};
use iii_sdk::{register_worker, Error, IIIClient, InitOptions, RegisterTriggerType, TriggerAction};
use serde_json::{json, Value};

use crate::connection::text;

pub type Binding = Trigger;

pub fn connect(
    url: &str,
    name: &str,
    headers: Option<HashMap<String, String>>,
    _namespace: Option<String>,
) -> IIIClient {
    let metadata = WorkerMetadata { name: name.into(), ..WorkerMetadata::default() };
    register_worker(url, InitOptions { metadata: Some(metadata), headers, ..InitOptions::default() })
}

pub async fn call(iii: &IIIClient, words: &Value) -> Result<Value, Error> {
    let action = match words["queue"].as_str() {
        Some(queue) => Some(TriggerAction::Enqueue { queue: queue.into() }),
        None if words["void"] == true => Some(TriggerAction::Void),
        None => None,
    };
    let request = TriggerRequest {
        function_id: text(words, "function_id"),
        payload: words["payload"].clone(),
        action,
        timeout_ms: words["timeout_ms"].as_u64(),
    };
    match &words["metadata"] {
        Value::Null => iii.trigger(request).await,
        metadata => iii.trigger(request.metadata(metadata.clone())).await,
    }
}

pub async fn bind(iii: &IIIClient, words: &Value) -> Result<Binding, Error> {
    iii.register_trigger(RegisterTriggerInput {
        trigger_type: text(words, "type"),
        function_id: text(words, "function_id"),
        config: words["config"].clone(),
        metadata: Some(words["metadata"].clone()).filter(|metadata| !metadata.is_null()),
    })
}

pub async fn unbind(_iii: &IIIClient, binding: Binding) -> Result<(), Error> {
    binding.unregister();
    Ok(())
}

/// A trigger type: keeps its bindings, and refuses what its configuration asks to be refused.
#[derive(Clone, Default)]
pub struct Bell {
    bindings: Arc<Mutex<Vec<TriggerConfig>>>,
}

impl Bell {
    pub fn bindings(&self) -> Value {
        let bindings = self.bindings.lock().unwrap();
        bindings
            .iter()
            .map(|binding| {
                json!({ "id": binding.id, "function_id": binding.function_id, "config": binding.config })
            })
            .collect()
    }
}

#[async_trait]
impl TriggerHandler for Bell {
    async fn register_trigger(&self, config: TriggerConfig) -> Result<(), Error> {
        if let Some(refused) = config.config["refuse"].as_str() {
            return Err(Error::Handler(format!("no {refused} here")));
        }
        let mut bindings = self.bindings.lock().unwrap();
        bindings.retain(|binding| binding.id != config.id);
        bindings.push(config);
        Ok(())
    }

    async fn unregister_trigger(&self, config: TriggerConfig) -> Result<(), Error> {
        self.bindings.lock().unwrap().retain(|binding| binding.id != config.id);
        Ok(())
    }
}

pub fn provide(iii: &IIIClient, trigger_type: &str) -> Result<Bell, String> {
    let bell = Bell::default();
    iii.register_trigger_type(RegisterTriggerType::new(trigger_type, "Rings", bell.clone()));
    Ok(bell)
}

pub fn withdraw(iii: &IIIClient, trigger_type: &str) {
    iii.unregister_trigger_type(trigger_type);
}

pub async fn observe(_iii: &IIIClient, _words: &Value) -> Result<Value, String> {
    Err("no observers in this version".into())
}
