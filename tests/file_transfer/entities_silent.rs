//! An agent that is silent: it takes no connection, or gives no answer while its client leaves.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};

use super::entities::{asked, beside, point_at};
use crate::support::agent::Agent;
use crate::support::client::{Client, ask};
use crate::support::service::SOON;
use crate::{Secured, start};

#[test]
fn an_agent_that_takes_no_connection_is_late() {
    // A queue of one, and nobody who accepts: what comes after waits.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _queue = [TcpStream::connect(address).unwrap()];
    let service = start(|setup| point_at(setup, address));
    let answer = ask(service.address, asked("GET", "", "")).unwrap();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("took too long to connect"), "{}", answer.text());
}

#[test]
fn who_leaves_a_silent_agent_is_missed_soon() {
    let (left, seen) = mpsc::channel();
    let left = Mutex::new(left);
    let agent = Agent::follow(move |head, stream| {
        if head.target.ends_with("events") {
            let stream = stream.get_mut();
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        }
        // It says no more, and waits for the end.
        std::io::copy(stream, &mut std::io::sink())?;
        left.lock().unwrap().send(head.target.clone()).unwrap();
        Ok(())
    });
    let secured = Secured::start(|setup, _| point_at(setup, agent.address));
    let service = beside(&agent);
    for (mut client, path, more) in [
        (Client::connect(service.address), "/a", ""),
        (Client::connect(service.address), "/pipelined", "GET / HTTP/1.1\r\n"),
        (Client::connect(service.address), "/events", ""),
        (secured.client(), "/tls", ""),
    ] {
        let mut stays = Client::connect(service.address);
        for client in [&mut client, &mut stays] {
            client.send(asked("GET", path, "") + more).unwrap();
        }
        while agent.heads().iter().filter(|head| head.target.ends_with(path)).count() < 2 {
            std::thread::yield_now();
        }
        drop(client);
        let target = format!("/te/v1/entities{path}");
        assert_eq!(seen.recv_timeout(SOON).as_ref(), Ok(&target));
        assert_eq!(seen.try_recv(), Err(mpsc::TryRecvError::Empty), "{path}: the other has stayed");
        drop(stays);
        assert_eq!(seen.recv_timeout(SOON), Ok(target));
    }
}
