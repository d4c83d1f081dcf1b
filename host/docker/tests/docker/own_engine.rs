//! A second engine beside the test engine, with settings of the test's own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use bollard::{API_DEFAULT_VERSION, Docker};
use serde_json::{Value, json};

use crate::world::{socket, until};

/// An engine that ends with the test.
pub struct OwnEngine {
    process: Child,
    folder: tempfile::TempDir,
}

impl OwnEngine {
    /// Starts an engine whose programs and steps run by the runtime of the test engine, with more
    /// arguments for gVisor.
    pub async fn with_runsc_arguments(more: &[&str]) -> Self {
        let path = socket();
        let first =
            Docker::connect_with_unix(path.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap();
        let runsc = first.info().await.unwrap().runtimes.unwrap()["runsc"].clone();
        let mut arguments = runsc.runtime_args.unwrap_or_default();
        arguments.extend(more.iter().map(ToString::to_string));
        let runtime = json!({ "path": runsc.path, "runtimeArgs": arguments });
        let settings = json!({ "default-runtime": "runsc", "runtimes": { "runsc": runtime } });
        Self::start(&settings).await
    }

    /// Starts an engine whose runtime `runsc` is the machine's runc: what is not gVisor's.
    pub async fn with_false_runsc() -> Self {
        let runc = ["/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc"];
        let runc = runc.iter().find(|path| std::path::Path::new(path).exists());
        let runtime = json!({ "path": runc.expect("a machine with runc") });
        Self::start(&json!({ "runtimes": { "runsc": runtime } })).await
    }

    /// A client of it.
    pub fn client(&self) -> Docker {
        let path = self.socket();
        Docker::connect_with_unix(path.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap()
    }

    async fn start(settings: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("daemon.json"), settings.to_string()).unwrap();
        let process = Command::new("dockerd")
            .arg("--config-file")
            .arg(at("daemon.json"))
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .args(["--bridge", "none", "--iptables=false", "--group", "0"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let engine = Self { process, folder };
        let socket = engine.socket();
        until("the second engine answers", || async {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
        .await;
        engine
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let process = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.process.wait();
    }
}
