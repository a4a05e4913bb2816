//! Reads objects of known size from `git cat-file`, one after another.

use std::io;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::command::GitProcess;

/// Bytes of the line before an object.
const MAX_HEAD: u64 = 256;

/// A running `git cat-file --batch`.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Killed when the reader is dropped.
    _process: GitProcess,
}

impl ObjectReader {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// Git cannot be started.
    pub(crate) fn start(mut git: Command) -> io::Result<Self> {
        git.args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = GitProcess::spawn(git)?;
        Ok(Self {
            input: Some(process.take_input()?),
            output: BufReader::new(process.take_output()?),
            _process: process,
        })
    }

    /// Requests one object and returns its content of `size` bytes.
    ///
    /// # Errors
    ///
    /// Git fails, or the object has another size.
    pub(crate) async fn small(&mut self, object: &str, size: u64) -> io::Result<Vec<u8>> {
        let input = self.input.as_mut().ok_or_else(closed)?;
        input.write_all(format!("{object}\n").as_bytes()).await?;
        self.answer(size).await
    }

    /// Returns a future that requests objects while their answers are read, and then ends git's input.
    ///
    /// # Errors
    ///
    /// The objects were requested before.
    pub(crate) fn request_all(
        &mut self,
        objects: Vec<String>,
    ) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
        let mut input = self.input.take().ok_or_else(closed)?;
        Ok(async move {
            for object in objects {
                input.write_all(format!("{object}\n").as_bytes()).await?;
            }
            input.shutdown().await
        })
    }

    /// Reads the next answer, an object of `size` bytes.
    ///
    /// # Errors
    ///
    /// Git fails, or the object has another size.
    pub(crate) async fn answer(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.answer_into(size, &mut content).await?;
        Ok(content)
    }

    /// Reads the next answer, an object of `size` bytes, and writes its content to `output`.
    ///
    /// # Errors
    ///
    /// Git fails, the object has another size, or `output` fails.
    pub(crate) async fn answer_into(
        &mut self,
        size: u64,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut head = String::new();
        let source = &mut self.output;
        source.take(MAX_HEAD).read_line(&mut head).await?;
        // OBJECT SP TYPE SP SIZE, or OBJECT SP missing
        let told = head.trim_end().rsplit(' ').next().map(str::parse);
        if told != Some(Ok(size)) {
            return Err(io::Error::other(format!(
                "git cat-file: expected {size} bytes, got {:?}",
                head.trim_end()
            )));
        }
        let copied = tokio::io::copy_buf(&mut source.take(size), output).await?;
        if copied < size || source.read_u8().await? != b'\n' {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::other("git cat-file: its input is closed")
}
