use std::{collections::HashMap, sync::Arc, sync::Mutex};

use iii_sdk::runtime::FunctionRef;
use iii_sdk::{Error, IIIClient, RegisterFunction};
use serde_json::{json, Value};
use tokio::sync::Notify;

use crate::{behaviours, sdk};

/// One client of the SDK: what it serves, what it has bound, and what its handlers have seen.
pub struct Connection {
    pub name: String,
    pub iii: IIIClient,
    pub functions: Mutex<HashMap<String, FunctionRef>>,
    pub triggers: Mutex<HashMap<String, sdk::Binding>>,
    pub bells: Mutex<HashMap<String, sdk::Bell>>,
    /// Payloads by function.
    notes: Mutex<HashMap<String, Vec<Value>>>,
    /// What handlers wait for.
    gates: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Connection {
    pub fn new(
        name: &str,
        url: &str,
        headers: Option<HashMap<String, String>>,
        namespace: Option<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            iii: sdk::connect(url, name, headers, namespace),
            functions: Mutex::default(),
            triggers: Mutex::default(),
            bells: Mutex::default(),
            notes: Mutex::default(),
            gates: Mutex::default(),
        })
    }

    pub fn serve(self: &Arc<Self>, words: &Value) -> Result<(), String> {
        let id = text(words, "function_id");
        let behaviour = words["behaviour"].as_str().unwrap_or("echo").to_string();
        let options = words["options"].clone();
        let connection = self.clone();
        let function_id = id.clone();
        let mut function = RegisterFunction::new_async(move |data: Value, metadata: Option<Value>| {
            let (connection, id) = (connection.clone(), function_id.clone());
            let (behaviour, options) = (behaviour.clone(), options.clone());
            async move { behaviours::run(&connection, &id, &behaviour, &options, data, metadata).await }
        });
        if !words["metadata"].is_null() {
            function = function.metadata(words["metadata"].clone());
        }
        let reference = self.iii.register_function(id.clone(), function);
        self.functions.lock().unwrap().insert(id, reference);
        Ok(())
    }

    pub fn note(&self, function_id: &str, data: Value) -> usize {
        let mut notes = self.notes.lock().unwrap();
        let list = notes.entry(function_id.into()).or_default();
        list.push(data);
        list.len()
    }

    pub fn notes(&self, function_id: &str) -> Value {
        json!(self.notes.lock().unwrap().get(function_id).cloned().unwrap_or_default())
    }

    /// Opening lets one pass, now or later.
    pub fn gate(&self, name: &str) -> Arc<Notify> {
        self.gates.lock().unwrap().entry(name.into()).or_default().clone()
    }

    /// How a call ended.
    pub async fn call(&self, words: &Value) -> Value {
        match sdk::call(&self.iii, words).await {
            // Null is all that this SDK tells of an absent result.
            Ok(result) => json!({ "is_absent": result.is_null(), "result": result }),
            Err(error) => json!({ "error": error_body(&error) }),
        }
    }
}

fn error_body(error: &Error) -> Value {
    match error {
        Error::Remote { code, message, .. } => json!({ "code": code, "message": message }),
        // Its own kind of error, where the other SDKs have a code.
        Error::Timeout => json!({ "code": "TIMEOUT", "message": error.to_string() }),
        other => json!({ "code": null, "message": other.to_string() }),
    }
}

pub fn text(words: &Value, key: &str) -> String {
    words[key].as_str().unwrap_or_default().to_string()
}
