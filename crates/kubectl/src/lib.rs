//! coracle kubectl: verbs, printers, kubeconfig
