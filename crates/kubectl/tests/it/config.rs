//! `config`: both say the same, and write the same.

use std::path::Path;

use super::compare::{Outcome, our_line, real_kubectl, real_line, release};

/// Run in order on a file that is not there at first. `{ca}` is a file, `{dir}` the kubeconfig's directory.
const LINES: &[&str] = &[
    "view",
    "current-context",
    "get-contexts",
    "get-clusters",
    "get-users",
    "set-cluster a --server=https://a:1",
    "view",
    "set-cluster a --certificate-authority={dir}/ca.crt",
    "set-cluster b --server=https://b --certificate-authority={ca} --embed-certs --tls-server-name=x --proxy-url=http://p",
    "set-cluster b --server=https://c",
    "set-cluster c --insecure-skip-tls-verify --server=https://c",
    "set-cluster c --certificate-authority=/elsewhere/ca.crt",
    "set-cluster c --insecure-skip-tls-verify=true --certificate-authority=x",
    "set-cluster c --insecure-skip-tls-verify=true",
    "set-cluster c --embed-certs",
    "set-cluster c --embed-certs --certificate-authority=/nonexistent",
    "set-credentials u --token=secret",
    "set-credentials u --username=a --password=b",
    "set-credentials u --token=secret --username=b",
    "set-credentials u --client-certificate={ca} --client-key={dir}/key.pem",
    "set-credentials u --client-certificate={ca} --embed-certs",
    "set-credentials u --embed-certs",
    "set-credentials u --embed-certs --client-key=/nonexistent",
    "set-credentials e --exec-command=plugin --exec-arg=a,b --exec-arg=c --exec-api-version=client.authentication.k8s.io/v1",
    // One variable a line: several new ones stand in the order of a Go map.
    "set-credentials e --exec-env=A=b --exec-interactive-mode=Never --exec-provide-cluster-info",
    "set-credentials e --exec-env=C=d=e",
    "set-credentials e --exec-env=A- --exec-env=C=f",
    "set-credentials e --exec-env=C-",
    "set-credentials e --exec-command=./other",
    "set-credentials e --exec-interactive-mode=Sometimes",
    "set-credentials p --auth-provider=oidc --auth-provider-arg=client-id=i,client-secret=s --auth-provider-arg=x=y",
    "set-credentials p --auth-provider-arg=x-",
    "set-context one --cluster=a --user=u -n prod",
    "set-context two --cluster=b",
    "set-context two --user=e",
    "set-context",
    "set-context --current --namespace=x",
    "set-context two --current",
    "use-context nothing",
    "use-context one",
    "set-context --current --namespace=x",
    "current-context",
    "get-contexts",
    "get-contexts two",
    "get-contexts two three -o name",
    "get-contexts -o json",
    "get-contexts --no-headers",
    "get-users",
    "view",
    "view --raw",
    "view --flatten --minify --context two",
    "view --minify",
    "view --minify --context=three",
    "view -o json",
    "view -o jsonpath={.users[?(@.name==\"u\")].user.username}",
    "view -o go-template={{.kind}}",
    "view -o wide",
    "view something",
    "rename-context one three",
    "rename-context one four",
    "rename-context two three",
    "rename-context two ",
    "current-context",
    "delete-context three",
    "delete-context three",
    "current-context",
    "view",
    "delete-cluster c",
    "delete-cluster c",
    "delete-user",
    "delete-user nobody",
    "delete-user p",
    "set current-context two",
    "set nonsense x",
    "set users.u.exec.command x",
    "set clusters.a.insecure-skip-tls-verify perhaps",
    "set clusters.a.insecure-skip-tls-verify true",
    "set clusters.a.certificate-authority-data %%",
    "set clusters.a.certificate-authority-data aGk=",
    "set clusters.a.certificate-authority-data hi --set-raw-bytes",
    "set clusters.dotted.name.server https://d",
    "set contexts.two.namespace.x y",
    "set users.x.act-as joe",
    "set users.x.act-as-groups joe",
    "set preferences.colors true",
    "unset preferences.colors",
    "unset clusters.nothing",
    "unset clusters.nothing.server",
    "unset clusters.a.server",
    "unset users.e.exec",
    "unset contexts.two",
    "unset nonsense",
    "unset current-context",
    "view",
    "unset users",
    "unset clusters",
    "view --merge=false",
    "nonsense",
];

/// One of the two, with a directory of its own.
struct Side {
    directory: tempfile::TempDir,
}

impl Side {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn line(&self, line: &str, authority: &Path) -> Vec<String> {
        let directory = self.directory.path().display().to_string();
        let words = line.replace("{dir}", &directory).replace("{ca}", &authority.display().to_string());
        let mut all = vec!["--kubeconfig".to_owned(), format!("{directory}/config"), "config".to_owned()];
        all.extend(words.split(' ').map(str::to_owned));
        all
    }

    /// What was said, and what the file says now.
    fn settled(&self, outcome: &Outcome) -> String {
        let file = std::fs::read_to_string(self.directory.path().join("config")).unwrap_or_default();
        let text = format!("{}\n{}\n{}\n--- file\n{file}", outcome.code, outcome.out, outcome.err);
        text.replace(&self.directory.path().display().to_string(), "DIR").replace("'kubectl-1.36 ", "'kubectl ")
    }
}

/// Help is worded by each in its way.
fn without_help(mut outcome: Outcome) -> Outcome {
    if outcome.out.contains("\nUsage:\n") {
        outcome.out.clear();
    }
    outcome
}

/// The lines that only one of them has.
fn differing(real: &str, ours: &str) -> String {
    let only = |of: &str, other: &str, mark: &str| -> String {
        let lines = of.lines().filter(|line| !other.lines().any(|known| known == *line));
        lines.map(|line| format!("{mark} {line}\n")).collect()
    };
    only(real, ours, "real:") + &only(ours, real, "ours:")
}

#[tokio::test]
async fn both_keep_the_same_file() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls write kubeconfig files in another way");
        return;
    }
    let authority = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(authority.path(), "certificate").expect("written");
    let (theirs, own) = (Side::new(), Side::new());
    let mut differences = Vec::new();
    for line in LINES {
        let real = without_help(real_line(&kubectl, theirs.line(line, authority.path())).await);
        let ours = without_help(our_line(own.line(line, authority.path())).await);
        let (real, ours) = (theirs.settled(&real), own.settled(&ours));
        if real != ours {
            differences.push(format!("config {line}\n{}", differing(&real, &ours)));
            // The next lines shall not differ for this one's sake.
            let [from, to] = [&theirs, &own].map(|side| side.directory.path().join("config"));
            if from.exists() {
                std::fs::copy(from, to).expect("copied");
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
