//! Tests of what the client promises, with small servers on loopback.

mod exchange;
mod limits;
mod pooling;
mod tls;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use futures_lite::FutureExt;
use http::{Method, Request, Response};

use super::{Client, Error, Options};
use crate::http::Body;
use crate::net::Origin;

/// Long enough for a loaded machine, short enough to notice a promise that is not kept.
const SOON: Duration = Duration::from_secs(20);

fn at(host: &str, port: u16) -> Origin {
    Origin::parse(host, port).unwrap()
}

fn plain(port: u16) -> Options {
    Options { origin: at("127.0.0.1", port), tls: None, proxy: None }
}

/// Runs a test with a client that is driven by the same thread.
fn with_client<F>(options: Options, test: impl FnOnce(surf::Client) -> F)
where
    F: Future<Output = ()>,
{
    let executor = Arc::new(Executor::new());
    drive(&executor, test(surf_client(Client::new(options, Arc::clone(&executor)))));
}

fn drive(executor: &Executor<'static>, test: impl Future<Output = ()>) {
    let late = async {
        Timer::after(SOON).await;
        panic!("the test takes too long");
    };
    crate::net::block_on(executor.run(test.or(late))).unwrap();
}

fn surf_client(client: Client) -> surf::Client {
    surf::Client::with_http_client(client)
}

fn message(method: Method, target: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(target).body(body).unwrap()
}

fn get(target: &str) -> Request<Body> {
    message(Method::GET, target, Body::Empty)
}

async fn send(client: &surf::Client, request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(super::send(client, Box::new(request)).await?.response)
}

async fn read(response: Response<Body>) -> Result<String, crate::http::BodyError> {
    let mut body = response.into_body();
    let mut content = Vec::new();
    while let Some(chunk) = body.chunk().await {
        content.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(content)?)
}
