//! Files that a build in a dyno has made, as it prints them: a line of JSON with paths and sizes, then the files' bytes.

/// A path below a folder that the build's author knows, and the file's bytes.
pub(crate) type MadeFile = (String, Vec<u8>);

/// Reads the output of a build. Returns `None` if it is malformed, or if a path leads out of the folder.
pub(crate) fn parse(output: &[u8]) -> Option<Vec<MadeFile>> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let (head, mut rest) = (&output[..end], &output[end + 1..]);
    let files: Vec<(String, usize)> = serde_json::from_slice(head).ok()?;
    let mut installed = Vec::new();
    for (path, size) in files {
        let (bytes, after) = rest.split_at_checked(size)?;
        rest = after;
        let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        installed.push((is_plain.then_some(path)?, bytes.to_vec()));
    }
    rest.is_empty().then_some(installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_and_bad_output_refused() {
        let good = b"[[\"a/b.so\",2],[\"c.rb\",1]]\nxyz";
        let expected = [
            ("a/b.so".to_owned(), b"xy".to_vec()),
            ("c.rb".to_owned(), b"z".to_vec()),
        ];
        assert_eq!(parse(good).unwrap(), expected);
        for bad in [
            &b"[[\"a\",4]]\nxyz"[..],
            b"[[\"a\",2]]\nxyz",
            b"[[\"../a\",3]]\nxyz",
            b"[[\"/a\",3]]\nxyz",
            b"[[\"\",3]]\nxyz",
            b"no json\n",
            b"",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
