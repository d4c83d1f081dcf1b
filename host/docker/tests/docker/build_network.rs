//! Builds that may reach the internet, and nothing else.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
};

use hersh_sandbox::Builder;

use crate::world::{World, address, until};

#[tokio::test]
async fn a_build_may_reach_the_internet_but_no_host_or_program() {
    let world = World::new();
    let neighbour = World::new();
    let running = neighbour.start("nc -ll -p 8080 -e echo served").await;
    let program = SocketAddr::new(address(&running).await.unwrap(), 8080);
    until("the neighbour answers the host", || async {
        TcpStream::connect(program).is_ok()
    })
    .await;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let service = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // A client that is gone already is no matter.
            let _ = connection.and_then(|mut it| it.write_all(b"served\n"));
        }
    });
    let internet: SocketAddr = std::env::var("HERSH_TEST_INTERNET")
        .unwrap()
        .parse()
        .unwrap();
    let ask = |host: &str, port: u16| format!("nc -w 2 {host} {port} </dev/null; ");
    let steps = format!(
        "{}gateway=$(route -n | awk '$1 == \"0.0.0.0\" {{print $2}}'); {}{}{}{}echo 'ended'",
        ask(&internet.ip().to_string(), internet.port()),
        ask("$gateway", service),
        ask("198.51.100.254", service),
        ask("169.254.169.254", 80),
        ask(&program.ip().to_string(), program.port()),
    );
    let build = world.store(&format!(
        "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN {steps}\n"
    ));
    let mut request = world.build_request(&build);
    request.rules.network = true;
    let built = world.runtime.build(request.clone()).await;
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(built.is_ok(), "{built:?}: {log}");
    let said: Vec<&str> = log
        .lines()
        .filter(|line| !line.starts_with("Step "))
        .collect();
    let internet = said.iter().filter(|line| **line == "internet").count();
    assert_eq!(
        internet, 1,
        "the internet answers, link-local does not: {log}"
    );
    assert!(!said.iter().any(|line| line.ends_with("served")), "{log}");
    assert!(said.iter().any(|line| line.ends_with("ended")), "{log}");

    // The network goes with the build.
    let name = format!("hersh-build-{}-{}", world.program, world.program);
    assert!(world.engine.inspect_network(&name, None).await.is_err());
    neighbour.stop().await;
}
