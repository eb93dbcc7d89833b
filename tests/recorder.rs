//! Writes down what passes between clients and the hub where `HUB_FRAMES` names a folder: a line for each frame, in a file of
//! this process. tests/web/protocol.test.js reads it.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::UNIX_EPOCH,
};

use serde_json::json;

static FILE: LazyLock<Option<File>> = LazyLock::new(|| {
    let folder = PathBuf::from(env::var_os("HUB_FRAMES")?);
    fs::create_dir_all(&folder).expect("HUB_FRAMES should name a folder");
    let now = UNIX_EPOCH.elapsed().expect("the clock should be past 1970").as_millis();
    let name = format!("{}-{}-{now}.jsonl", env!("CARGO_PKG_NAME"), process::id());
    Some(File::create(folder.join(name)).expect("HUB_FRAMES should name a folder that can be written to"))
});

/// The frames of one connection, or of one invocation of publish.
pub(crate) struct Recorder {
    channel: &'static str,
    connection: u32,
}

impl Recorder {
    /// `channel` is the document's name for it.
    pub(crate) fn new(channel: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self { channel, connection: COUNT.fetch_add(1, Ordering::Relaxed) }
    }

    /// A frame that `by` has sent, a `client` or the `hub`.
    pub(crate) fn record(&self, by: &str, text: &str) {
        if let Some(mut file) = FILE.as_ref() {
            let Self { channel, connection } = self;
            let line = json!({ "channel": channel, "connection": connection, "by": by, "text": text });
            // One write, so that no line is in the middle of another.
            file.write_all(format!("{line}\n").as_bytes()).expect("a file should take a line");
        }
    }
}
