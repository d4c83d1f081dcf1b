//! Other proxies, as their manuals set them up for keep-alive toward one server, with as many
//! workers as there are processors and without logs.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::child;

const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A server in a process of its own. Dropped, it ends.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    process: Child,
}

impl Server {
    /// Waits until `process` takes connections at `address`.
    pub(super) fn new(mut process: Child, address: SocketAddr) -> Result<Self> {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.try_wait()? {
                bail!("the server at {address} ended with {status}");
            }
            ensure!(began.elapsed() < DEADLINE, "nobody listens at {address}");
            thread::sleep(POLL);
        }
        Ok(Self { address, process })
    }

    /// Bytes of its process that are in memory.
    pub(super) fn resident_bytes(&self) -> Result<f64> {
        child::status_bytes(&self.process.id().to_string(), "VmRSS:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, not killed: only then its workers end too. Errors mean that it has ended already.
        if let Some(process) = Pid::from_raw(self.process.id().cast_signed()) {
            let _ = kill_process(process, Signal::TERM);
        }
        drop(self.process.wait());
    }
}

pub(super) fn nginx(folder: &Path, upstream: SocketAddr) -> Result<Server> {
    let address = free()?;
    let folder = folder.display();
    let text = format!(
        "daemon off;\n\
         worker_processes auto;\n\
         pid {folder}/nginx.pid;\n\
         error_log {folder}/nginx.log crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
           access_log off;\n\
           keepalive_requests 1000000000;\n\
           proxy_temp_path {folder}/nginx-proxy; client_body_temp_path {folder}/nginx-body;\n\
           fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;\n\
           upstream program {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
           server {{\n\
             listen {address};\n\
             location / {{ proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
           }}\n\
         }}\n"
    );
    start(
        "nginx",
        &format!("{folder}/nginx.conf"),
        &text,
        "-c",
        address,
    )
}

pub(super) fn haproxy(folder: &Path, upstream: SocketAddr) -> Result<Server> {
    let address = free()?;
    let folder = folder.display();
    let text = format!(
        "global\n\
         \x20 maxconn 1024\n\
         defaults\n\
         \x20 mode http\n\
         \x20 timeout connect 5s\n\
         \x20 timeout client 30s\n\
         \x20 timeout server 30s\n\
         \x20 http-reuse always\n\
         frontend front\n\
         \x20 bind {address}\n\
         \x20 default_backend program\n\
         backend program\n\
         \x20 server program {upstream}\n"
    );
    start(
        "haproxy",
        &format!("{folder}/haproxy.cfg"),
        &text,
        "-f",
        address,
    )
}

fn start(name: &str, path: &str, text: &str, flag: &str, address: SocketAddr) -> Result<Server> {
    fs::write(path, text)?;
    let process = Command::new(name)
        .args([flag, path])
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("{name} did not start: `scripts/setup bench` installs it"))?;
    Server::new(process, address)
}

/// An address that nobody listens at.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
