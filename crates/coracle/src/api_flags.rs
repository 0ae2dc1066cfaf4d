//! Flags of `coracle server` that kube-apiserver has under the same names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use apiserver::{AdmissionConfiguration, AuditConfig, AuditDelivery, LogConfig};
use auth::oidc::IssuerConfig;
use auth::request_header::RequestHeaderConfig;
use clap::Args;

use crate::audit_flags::AuditFlags;

#[derive(Args)]
pub struct ApiFlags {
    /// What is recorded of requests: a Policy of audit.k8s.io/v1
    #[arg(long)]
    audit_policy_file: Option<PathBuf>,
    /// Where audit events are written, a line each; `-` is standard output
    #[arg(long)]
    audit_log_path: Option<PathBuf>,
    /// Days to keep old audit logs; 0 for ever
    #[arg(long, default_value_t = 366)]
    audit_log_maxage: u64,
    /// How many old audit logs to keep; 0 for all
    #[arg(long, default_value_t = 100)]
    audit_log_maxbackup: usize,
    /// Megabytes after which an audit log is put aside
    #[arg(long, default_value_t = 100)]
    audit_log_maxsize: u64,
    /// A kubeconfig that names a receiver of audit events
    #[arg(long)]
    audit_webhook_config_file: Option<PathBuf>,
    #[command(flatten)]
    audit: AuditFlags,
    /// An OpenID Connect issuer whose tokens are taken
    #[arg(long, requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    #[arg(long)]
    oidc_client_id: Option<String>,
    #[arg(long, default_value = "sub")]
    oidc_username_claim: String,
    /// Before user names; `-` for nothing [default: the issuer and #]
    #[arg(long, default_value = "", hide_default_value = true)]
    oidc_username_prefix: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    oidc_groups_claim: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    oidc_groups_prefix: String,
    /// A claim that every token must have, as key=value
    #[arg(long, value_delimiter = ',')]
    oidc_required_claim: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "RS256")]
    oidc_signing_algs: Vec<String>,
    /// The authority of the issuer's server [default: the system's]
    #[arg(long)]
    oidc_ca_file: Option<PathBuf>,
    /// An AuthenticationConfiguration: issuers of tokens, and who may be anonymous. It is read again when it changes
    #[arg(long, conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,
    /// The authority of front proxies besides the cluster's own
    #[arg(long)]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies; the cluster's own is one
    #[arg(long, value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-User")]
    requestheader_username_headers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Uid")]
    requestheader_uid_headers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Group")]
    requestheader_group_headers: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "X-Remote-Extra-")]
    requestheader_extra_headers_prefix: Vec<String>,
    /// Settings of admission plugins: an AdmissionConfiguration
    #[arg(long)]
    admission_control_config_file: Option<PathBuf>,
    /// Admission plugins that run besides those that run anyway
    #[arg(long, value_delimiter = ',')]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins that do not run
    #[arg(long, value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// Reading requests at once; with the mutating ones, the seats of priority and fairness
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: usize,
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
}

impl ApiFlags {
    pub fn audit(&self) -> AuditConfig {
        let log = |path: &PathBuf| LogConfig {
            path: path.clone(),
            age_max_days: self.audit_log_maxage,
            backups_max: self.audit_log_maxbackup,
            size_max_megabytes: self.audit_log_maxsize,
        };
        AuditConfig {
            policy: self.audit_policy_file.clone(),
            log: self.audit_log_path.as_ref().map(log),
            webhook: self.audit_webhook_config_file.clone(),
        }
    }

    pub fn audit_delivery(&self) -> anyhow::Result<AuditDelivery> {
        self.audit.delivery()
    }

    pub fn authentication_config(&self) -> Option<PathBuf> {
        self.authentication_config.clone()
    }

    pub fn admission(&self) -> anyhow::Result<AdmissionConfiguration> {
        let file = self.admission_control_config_file.as_deref();
        AdmissionConfiguration::load(file, &self.enable_admission_plugins, &self.disable_admission_plugins)
            .context("configure admission")
    }

    pub fn request_header(&self) -> anyhow::Result<RequestHeaderConfig> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .with_context(|| format!("read the front proxies' authority {}", path.display()))
        };
        let mut allowed_names = RequestHeaderConfig::default().allowed_names;
        let given = self.requestheader_allowed_names.iter().filter(|name| !allowed_names.contains(name));
        let given: Vec<String> = given.cloned().collect();
        allowed_names.extend(given);
        Ok(RequestHeaderConfig {
            ca_pem: self.requestheader_client_ca_file.as_ref().map(read).transpose()?,
            allowed_names,
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_prefixes: self.requestheader_extra_headers_prefix.clone(),
        })
    }

    pub fn oidc_issuers(&self) -> anyhow::Result<Vec<IssuerConfig>> {
        let Some(url) = &self.oidc_issuer_url else { return Ok(Vec::new()) };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("read the issuer's authority {}", path.display()))
        };
        Ok(vec![IssuerConfig {
            url: url.clone(),
            client_id: self.oidc_client_id.clone().unwrap_or_default(),
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            required_claims: self.required_claims()?,
            signing_algorithms: self.oidc_signing_algs.clone(),
            ca_pem: self.oidc_ca_file.as_ref().map(read).transpose()?,
        }])
    }

    fn required_claims(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pair = |claim: &String| {
            let (key, value) = claim.split_once('=').with_context(|| format!("{claim:?} is not key=value"))?;
            Ok((key.to_string(), value.to_string()))
        };
        self.oidc_required_claim.iter().map(pair).collect()
    }
}
