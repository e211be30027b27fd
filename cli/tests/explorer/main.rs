//! `dcb explore`: its server over HTTP, and its page in a real browser.

mod browser;
mod http;
mod large;
mod support;
