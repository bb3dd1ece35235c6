//! From a load back to the command line that asks for it.

use std::fmt;
use std::time::Duration;

use super::Load;

impl Load {
    /// The command line (without the program's name) that asks for exactly this load.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let mut args = Args(Vec::new());
        match &self.target_name {
            Some(name) => {
                args.set("target", Some(name));
                args.set("connect-to", self.target.socket_addr());
            }
            None => args.set("target", Some(&self.target)),
        }
        for network in &self.allow_target {
            args.set("allow-target", Some(network));
        }
        args.set("plan-digest", self.plan_digest.as_ref());
        for (key, value) in &self.labels {
            args.set("label", Some(format_args!("{key}={value}")));
        }
        self.request_args(&mut args);
        self.connection_args(&mut args);
        self.run_args(&mut args);
        args.0
    }

    fn request_args(&self, args: &mut Args) {
        args.set("protocol", Some(name_of(self.protocol)));
        args.set("path", self.path.as_ref());
        args.set("host", self.host.as_ref());
        match &self.conn_stages {
            Some(stages) => args.set("conn-stages", Some(stages)),
            None => args.set("conns", Some(self.conns)),
        }
        self.http_args(args);
        self.command_args(args);
        if let Some(tls) = &self.tls {
            args.switch("tls", true);
            args.set("sni", tls.sni.as_ref());
            args.set("ca", tls.ca.as_ref().map(|path| path.display()));
            args.switch("insecure", tls.insecure);
            args.set("tls-resume", Some(name_of(tls.resume)));
        }
        args.set("send", self.send.as_ref());
        args.set("expect", self.expect.as_ref());
        args.set("greeting", self.greeting.as_ref());
        args.set("idle", Some(self.idle));
        args.set("payload", self.payload);
        args.set("pipeline", Some(self.pipeline));
        args.set("request-timeout", Some(ns(self.request_timeout_ns)));
        args.set("rate", self.rate_per_s);
        args.set("stages", self.stages.as_ref());
        match self.is_open_loop() {
            true => args.set("arrival", Some(name_of(self.arrival))),
            false => args.set("think", Some(ns(self.think_ns))),
        }
    }

    fn http_args(&self, args: &mut Args) {
        let Some(http) = &self.http else {
            return;
        };
        if http.requests_file.is_none() {
            args.set("method", http.method.as_ref());
        }
        for header in &http.headers {
            args.set("header", Some(header));
        }
        args.set("body", http.body.as_ref());
        args.set("http-version", Some(name_of(http.version)));
        args.set("expect-status", http.expect_status.as_ref());
        args.set("requests", http.requests_file.as_ref());
        let order = http.requests_file.as_ref().map(|_| http.requests_order);
        args.set("requests-order", order.map(name_of));
    }

    fn command_args(&self, args: &mut Args) {
        let Some(commands) = &self.commands else {
            return;
        };
        for command in &commands.commands {
            args.set("command", Some(command));
        }
        for ratio in &commands.ratios {
            args.set("command-ratio", Some(ratio));
        }
        args.set("requests-order", Some(name_of(commands.order)));
        args.set("keys", Some(commands.keys));
        args.set("key-distribution", Some(commands.key_distribution));
        args.set("key-prefix", Some(&commands.key_prefix));
        args.set("value-sizes", Some(&commands.value_sizes));
        args.switch("verify-values", commands.verify_values);
    }

    fn connection_args(&self, args: &mut Args) {
        args.set("requests-per-conn", self.requests_per_conn);
        args.set("connect-rate", self.connect_rate_per_s);
        args.set(
            "connect-arrival",
            self.connect_rate_per_s
                .map(|_| name_of(self.connect_arrival)),
        );
        args.set("connect-inflight", Some(self.connect_inflight));
        args.set("connect-timeout", Some(ns(self.connect_timeout_ns)));
        args.set("ramp-timeout", Some(ns(self.ramp_timeout_ns)));
        args.set("served-at-once", self.served_at_once);
        args.set("close", Some(name_of(self.close)));
        args.set("conn-lifetime", self.conn_lifetime_ns.map(ns));
        args.set("reconnect-rate", self.reconnect_rate_per_s);
        args.set("rotate", self.rotate_ns.map(ns));
        args.set("sources", Some(&self.sources));
    }

    fn run_args(&self, args: &mut Args) {
        args.set("warmup", Some(ns(self.warmup_ns)));
        if self.any_stages().is_none() {
            args.set("duration", Some(ns(self.duration_ns)));
        }
        args.set("seed", Some(self.seed));
        args.set("threads", Some(self.threads));
        args.set("processes", Some(self.processes));
        args.set("cpus", self.cpus.as_ref());
        args.set("poll", Some(name_of(self.poll)));
        for condition in &self.abort_on {
            args.set("abort-on", Some(condition));
        }
        args.set("segment", Some(self.segment));
        let start_at = self
            .start_at_unix_ns
            .map(|ns| std::time::UNIX_EPOCH + Duration::from_nanos(ns));
        args.set("start-at", start_at.map(humantime::format_rfc3339_nanos));
    }
}

struct Args(Vec<String>);

impl Args {
    fn switch(&mut self, flag: &str, on: bool) {
        self.0.extend(on.then(|| format!("--{flag}")));
    }

    fn set(&mut self, flag: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.0.push(format!("--{flag}={value}"));
        }
    }
}

fn ns(ns: u64) -> String {
    format!("{ns}ns")
}

fn name_of(value: impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |name| name.get_name().to_owned())
}
