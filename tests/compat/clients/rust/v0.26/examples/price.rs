use iii_sdk::{register_worker, CallRequest, InitOptions, RegisterFunction};
use serde_json::{json, Value};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("III_URL").unwrap_or_else(|_| "ws://localhost:49134".to_string());
    let worker = register_worker(&url, InitOptions::default());

    worker.register_function(
        "shop::price",
        RegisterFunction::new_async(|request: Value| async move {
            let item = request["path_params"]["item"].clone();
            Ok::<_, iii_sdk::Error>(json!({ "status_code": 200, "body": { "item": item, "price": 12 } }))
        }),
    );

    // At each start: a repeat is the same trigger. Waits for the connection, and answers an error in words.
    let bound = worker
        .call(CallRequest::new(
            "engine::register_trigger",
            json!({
                "trigger_type": "http",
                "function_id": "shop::price",
                "config": { "api_path": "/price/:item", "http_method": "GET" }
            }),
        ))
        .await?;
    println!("bound as {}", bound["id"]);

    tokio::signal::ctrl_c().await?;
    worker.shutdown_async().await;
    Ok(())
}
