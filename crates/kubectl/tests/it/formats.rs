//! Output formats: both print the same.

use super::compare::{OURS, REAL, compare, ours, real_kubectl, release};
use super::server::Cluster;

const CONFIG: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts",
    "labels": {"a.b/c": "d", "yes": "x", "1a": "b", "o": "true"}, "annotations": {"n": "0x1f"}},
    "data": {"a": "x\ny\n", "b": "- x", "date": "2026-01-02", "e": "tab\there", "f": "", "g": "longer \"quoted\" \\ back",
    "true": "x", "n.o": "é☃\u0001", "h": "\n  two\n lines", "1e3": "x", "0.5": "y", "_": "z", "a-": "b"},
    "binaryData": {"bin": "aGk="}, "immutable": true}"#;

/// Each is `get cm texts -o` and this.
const FORMATS: &[&str] = &[
    "kyaml",
    "go-template={{.metadata.name}} {{.none}} {{.none.more}} {{.data.b}} {{.immutable}}{{\"\\n\"}}",
    "go-template={{range $k, $v := .data}}{{$k}}={{$v}};{{else}}none{{end}}",
    "go-template={{.metadata.labels}}",
    "go-template={{.kind.x}}",
    "go-template=before {{index .data \"a\" \"b\"}} after",
    "go-template={{len .immutable}}",
    "go-template={{eq .kind 3}}",
    "go-template={{if eq .kind \"ConfigMap\"}}yes{{else}}no{{end}}",
    "go-template={{.binaryData.bin | base64decode}} {{base64decode \"%%\"}}",
    "go-template={{exists . \"data\" \"a\"}} {{exists . \"data\" \"nothing\"}}",
    "go-template={{printf \"%s|%5s|%-5s|%q|%v|%t|%d|%05d|%x|%.2f|%T\" .kind .data.f \"ab\" .data.b .metadata.labels true 3 42 \"hi\" 1.5 .data}}",
    "go-template={{printf \"%d\" .kind}} {{printf \"%s\"}} {{printf \"a\" 1}} {{print 1 2 \"a\" 3}} {{println 1 \"b\"}}",
    "go-template={{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .kind}}{{template \"none\"}}",
    "go-template={{with .data}}{{.b}}{{end}}{{with .none}}x{{else}}y{{end}}{{- \" a \" -}}  z",
    "go-template={{and 1 0 2}} {{or 0 \"\" \"x\"}} {{not 1}} {{html \"<a>\"}} {{js \"a'b\"}} {{urlquery \"a b&c\"}} {{slice \"abcdef\" 1 3}}",
    "go-template={{$x := 1}}{{range .data}}{{$x = 2}}{{break}}{{end}}{{$x}} {{1.5}} {{1e3}} {{'a'}} {{`raw`}} {{true}}",
    "go-template={{/* nothing */}}{{lt 1 2}} {{le \"a\" \"b\"}} {{gt 1 2}} {{ge 2 2}} {{ne 1 2}} {{eq 1 2 1}}",
    "go-template={{lt 1 \"a\"}}",
    "go-template={{range .kind}}{{end}}",
    "go-template={{.data",
    "go-template={{foo}}",
    "go-template={{$y}}",
    "go-template={{end}}",
    "go-template={{if .a}}",
    "go-template={{if}}{{end}}",
    "go-template={{\"abc}}",
    "go-template={{.a.}}",
    "go-template={{break}}",
    "go-template=",
    "go-template",
    "template={{.kind}}",
    "go-template-file={template}",
    "templatefile={template}",
    "go-template-file=/nonexistent",
    "jsonpath={.data.b}{\"\\n\"}",
    "jsonpath-as-json={.data}",
    "jsonpath-file={jsonpath}",
    "jsonpath-file=/nonexistent",
    "jsonpath",
    "custom-columns-file={columns}",
    "custom-columns-file=/nonexistent",
    "nonsense",
];

const OTHERS: &[&[&str]] = &[
    &["get", "cm", "-o", "go-template={{range .items}}{{.metadata.name}} {{end}}{{.kind}}"],
    &["get", "cm", "texts", "--template", "{{.kind}}"],
    &["get", "cm", "texts", "--template", "{{.kind}}", "-o", "go-template"],
    &["get", "cm", "-o", "kyaml", "-l", "nothing=here"],
    &["cluster-info", "dump", "-o", "yaml"],
    &["cluster-info", "dump", "--namespaces=nothing,kube-node-lease"],
    &["cluster-info", "dump", "-o", "jsonpath={.kind}{.items[*].metadata.name}{\"\\n\"}"],
    &["cluster-info", "dump", "-o", "wide"],
    &["create", "cm", "other", "--from-literal=a=b", "-o", "go-template={{.metadata.name}}{{\"\\n\"}}"],
    &["delete", "cm", "other", "-o", "name"],
    &["label", "cm", "texts", "more=x", "-o", "go-template={{.metadata.labels.more}}"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_print_the_same_formats() {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls know other formats");
        return;
    }
    let cluster = Cluster::start().await;
    let config = cluster.file("config.json", CONFIG);
    for namespace in [REAL, OURS] {
        assert_eq!(ours(&cluster, "default", &["create", "namespace", namespace]).await.code, 0);
        assert_eq!(ours(&cluster, namespace, &["create", "-f", &config]).await.code, 0);
    }
    let files = [
        ("{template}", cluster.file("template", "{{.metadata.name}}\n{{range .data}}{{.}},{{end}}\n")),
        ("{jsonpath}", cluster.file("jsonpath", "{.metadata.name}")),
        ("{columns}", cluster.file("columns", "NAME   KIND\n.metadata.name .kind\n")),
    ];
    let mut differences = Vec::new();
    for format in FORMATS {
        let format = files.iter().fold((*format).to_owned(), |format, (name, path)| format.replace(name, path));
        differences.extend(compare(&kubectl, &cluster, &["get", "cm", "texts", "-o", &format]).await.err());
    }
    for line in OTHERS {
        differences.extend(compare(&kubectl, &cluster, line).await.err());
    }
    cluster.stop().await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
