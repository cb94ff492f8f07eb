//! The client: sends statements that were signed beforehand, so many at a time, over a few TLS
//! connections, and measures each call. A process of its own, with one thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use jit_ssh_api::{CaUrl, Client, v1};
use jit_ssh_core::root::Root;
use prost::Message as _;
use serde_json::{Value, json};

use crate::machine::{cpu_micros, percentile};

/// Most TLS connections; calls are spread over them.
const CONNECTIONS: usize = 4;

/// Sends every statement of a file once, and says how fast that was.
pub(crate) fn run(url: &str, root: &Path, statements: &Path, in_flight: usize) -> Value {
    let url: CaUrl = url.parse().unwrap();
    let root = Root::parse(&std::fs::read(root).unwrap()).unwrap();
    let requests = Arc::new(read(statements));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS.min(in_flight) {
            clients.push(Client::connect(&url, &root).await.unwrap());
        }
        let next = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let tasks: Vec<_> = (0..in_flight)
            .map(|place| {
                let (client, next) = (clients[place % clients.len()].clone(), next.clone());
                let requests = requests.clone();
                tokio::spawn(async move { send(&client, &requests, &next).await })
            })
            .collect();
        let mut millis = Vec::new();
        for task in tasks {
            millis.extend(task.await.unwrap());
        }
        let seconds = began.elapsed().as_secs_f64();
        millis.sort_by(f64::total_cmp);
        json!({
            "in_flight": in_flight,
            "per_second": (millis.len() as f64 / seconds).round(),
            "p50_ms": percentile(&millis, 0.5),
            "p99_ms": percentile(&millis, 0.99),
            "cpu_us_per_call": {
                "client": (cpu_micros(std::process::id()) / millis.len() as f64).round(),
            },
        })
    })
}

async fn send(client: &Client, requests: &[v1::SubmitRequest], next: &AtomicUsize) -> Vec<f64> {
    let mut millis = Vec::new();
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let began = Instant::now();
        let answer = client.submit(request.clone()).await.unwrap();
        assert!(answer.certificate.is_some(), "no certificate: {answer:?}");
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    millis
}

/// Writes requests, each with its length before it.
pub(crate) fn write(path: &Path, requests: &[v1::SubmitRequest]) {
    let mut bytes = Vec::new();
    for request in requests {
        request.encode_length_delimited(&mut bytes).unwrap();
    }
    std::fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<v1::SubmitRequest> {
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut requests) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        requests.push(v1::SubmitRequest::decode_length_delimited(&mut rest).unwrap());
    }
    requests
}
