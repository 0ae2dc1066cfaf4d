//! Scheduling queue, framework, plugins and binding
