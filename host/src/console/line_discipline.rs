//! The line discipline of a terminal: from keys to the bytes that a program reads, as Linux has it (termios(3)).
//!
//! It is a state machine without I/O: keys go in, and come out as input, as echo and as signals. Parity, flow control and
//! baud rates have no meaning here; their settings are kept and do nothing.

use std::collections::VecDeque;

/// Bytes of a line that is being edited. Further keys are refused with a bell, as on Linux.
const MAX_LINE: usize = 4095;
/// Bytes that wait for the program to read them.
const MAX_READY: usize = 16 << 10;

// Numbers of Linux; sdk/ruby/mri/console/termios.h has the same.
const ISTRIP: u32 = 0o40;
const INLCR: u32 = 0o100;
const IGNCR: u32 = 0o200;
const ICRNL: u32 = 0o400;
const IXON: u32 = 0o2000;
const IMAXBEL: u32 = 0o20000;
const IUTF8: u32 = 0o40000;
const OPOST: u32 = 0o1;
const ONLCR: u32 = 0o4;
const ISIG: u32 = 0o1;
const ICANON: u32 = 0o2;
const ECHO: u32 = 0o10;
const ECHOE: u32 = 0o20;
const ECHOK: u32 = 0o40;
const ECHONL: u32 = 0o100;
const NOFLSH: u32 = 0o200;
const ECHOCTL: u32 = 0o1000;
const ECHOKE: u32 = 0o4000;
const IEXTEN: u32 = 0o100_000;

const VINTR: usize = 0;
const VQUIT: usize = 1;
const VERASE: usize = 2;
const VKILL: usize = 3;
const VEOF: usize = 4;
const VTIME: usize = 5;
const VMIN: usize = 6;
const VSUSP: usize = 10;
const VEOL: usize = 11;
const VREPRINT: usize = 12;
const VWERASE: usize = 14;
const VLNEXT: usize = 15;
const VEOL2: usize = 16;
const NCCS: usize = 19;

const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGTSTP: u8 = 20;

/// A terminal's settings: the kernel's `struct termios`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TerminalAttributes {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    discipline: u8,
    keys: [u8; NCCS],
}

impl TerminalAttributes {
    /// Bytes of the structure in a guest's memory.
    pub(crate) const SIZE: usize = 36;

    /// Returns the settings of a new terminal, as `stty sane` has them.
    pub(crate) fn sane() -> Self {
        let mut keys = [0; NCCS];
        keys[VINTR] = 0x03;
        keys[VQUIT] = 0x1c;
        keys[VERASE] = 0x7f;
        keys[VKILL] = 0x15;
        keys[VEOF] = 0x04;
        keys[VMIN] = 1;
        keys[8] = 0x11;
        keys[9] = 0x13;
        keys[VSUSP] = 0x1a;
        keys[VREPRINT] = 0x12;
        keys[13] = 0x0f;
        keys[VWERASE] = 0x17;
        keys[VLNEXT] = 0x16;
        Self {
            input: ICRNL | IXON | IMAXBEL | IUTF8,
            output: OPOST | ONLCR,
            // 38400 baud, 8 bits, receiver on.
            control: 0o277,
            local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            discipline: 0,
            keys,
        }
    }

    /// Encodes the structure.
    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let flags = [self.input, self.output, self.control, self.local];
        for (place, flag) in bytes.chunks_exact_mut(4).zip(flags) {
            place.copy_from_slice(&flag.to_le_bytes());
        }
        bytes[16] = self.discipline;
        bytes[17..].copy_from_slice(&self.keys);
        bytes
    }

    /// Decodes the structure.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let flag = |index: usize| {
            let mut flag = [0; 4];
            flag.copy_from_slice(&bytes[index * 4..index * 4 + 4]);
            u32::from_le_bytes(flag)
        };
        let mut keys = [0; NCCS];
        keys.copy_from_slice(&bytes[17..]);
        Self {
            input: flag(0),
            output: flag(1),
            control: flag(2),
            local: flag(3),
            discipline: bytes[16],
            keys,
        }
    }

    fn is_canonical(&self) -> bool {
        self.local & ICANON != 0
    }

    fn echoes(&self) -> bool {
        self.local & ECHO != 0
    }

    fn is_key(&self, index: usize, byte: u8) -> bool {
        // 0 disables a key.
        byte != 0 && self.keys[index] == byte
    }

    /// Returns the signal that a key stands for.
    fn signal(&self, byte: u8) -> Option<u8> {
        if self.local & ISIG == 0 {
            return None;
        }
        let keys = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        let found = keys.iter().find(|(key, _)| self.is_key(*key, byte));
        found.map(|(_, signal)| *signal)
    }

    /// Translates a program's output into `shown`.
    pub(crate) fn process_output(&self, bytes: &[u8], shown: &mut Vec<u8>) {
        if self.output & OPOST == 0 || self.output & ONLCR == 0 {
            shown.extend_from_slice(bytes);
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', text)) => {
                    shown.extend_from_slice(text);
                    shown.extend_from_slice(b"\r\n");
                }
                _ => shown.extend_from_slice(line),
            }
        }
    }
}

/// A program's wait in non-canonical mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawWait {
    /// Bytes that a read waits for; 0 for none.
    pub(crate) minimum: usize,
    /// Time after which a read returns, in tenths of a second; 0 for no limit.
    pub(crate) tenths: u8,
}

/// The effects of some keys.
#[derive(Debug, Default)]
pub(crate) struct KeyEffects {
    /// Bytes to show.
    pub(crate) echo: Vec<u8>,
    /// Signals to send.
    pub(crate) signals: Vec<u8>,
}

/// The state of a terminal's input.
#[derive(Debug)]
pub(crate) struct LineDiscipline {
    attributes: TerminalAttributes,
    /// The line that is being edited.
    edited: Vec<u8>,
    /// Bytes that a program can read.
    ready: VecDeque<u8>,
    /// Lengths of the lines at the front of `ready`, 0 for an end of file. Bytes without a line were read raw.
    lines: VecDeque<usize>,
    /// True after the key that takes the next one literally.
    is_literal: bool,
    /// The client has gone or its input has ended.
    has_ended: bool,
}

impl LineDiscipline {
    /// Creates the discipline of a new terminal.
    pub(crate) fn new() -> Self {
        Self {
            attributes: TerminalAttributes::sane(),
            edited: Vec::new(),
            ready: VecDeque::new(),
            lines: VecDeque::new(),
            is_literal: false,
            has_ended: false,
        }
    }

    /// Returns the settings.
    pub(crate) fn attributes(&self) -> &TerminalAttributes {
        &self.attributes
    }

    /// Changes the settings. A line that is being edited can be read at once if lines are no longer edited.
    pub(crate) fn set_attributes(&mut self, attributes: TerminalAttributes) {
        let was_canonical = self.attributes.is_canonical();
        self.attributes = attributes;
        if was_canonical && !attributes.is_canonical() {
            self.ready.extend(self.edited.drain(..));
            self.lines.clear();
            self.is_literal = false;
        } else if !was_canonical && attributes.is_canonical() && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
    }

    /// Drops the keys that no program has read.
    pub(crate) fn discard_input(&mut self) {
        self.edited.clear();
        self.ready.clear();
        self.lines.clear();
    }

    /// Ends the input: reads return what is left, and then nothing.
    pub(crate) fn end(&mut self) {
        self.complete_line();
        self.has_ended = true;
    }

    /// Returns the wait of a read, `None` if lines are read.
    pub(crate) fn raw_wait(&self) -> Option<RawWait> {
        (!self.attributes.is_canonical()).then(|| RawWait {
            minimum: usize::from(self.attributes.keys[VMIN]),
            tenths: self.attributes.keys[VTIME],
        })
    }

    /// Returns the bytes that a read would get at once, `None` if it would wait.
    pub(crate) fn readable(&self) -> Option<usize> {
        if self.attributes.is_canonical() {
            match self.lines.front() {
                Some(length) => Some(*length),
                None => self.has_ended.then_some(0),
            }
        } else {
            (!self.ready.is_empty() || self.has_ended).then_some(self.ready.len())
        }
    }

    /// Reads what [`LineDiscipline::readable`] promises.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let available = self.readable().unwrap_or(0);
        let length = available.min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(self.ready.drain(..length)) {
            *place = byte;
        }
        if self.attributes.is_canonical()
            && let Some(line) = self.lines.front_mut()
        {
            *line -= length;
            if *line == 0 {
                self.lines.pop_front();
            }
        }
        length
    }

    /// Takes keys.
    pub(crate) fn push(&mut self, keys: &[u8]) -> KeyEffects {
        let mut effects = KeyEffects::default();
        for key in keys {
            self.push_key(*key, &mut effects);
        }
        effects
    }

    fn push_key(&mut self, key: u8, effects: &mut KeyEffects) {
        let attributes = self.attributes;
        let mut key = key;
        if attributes.input & ISTRIP != 0 {
            key &= 0x7f;
        }
        if std::mem::take(&mut self.is_literal) {
            self.insert(key, effects);
            return;
        }
        if let Some(signal) = attributes.signal(key) {
            if attributes.local & NOFLSH == 0 {
                self.discard_input();
            }
            self.echo(key, effects);
            effects.signals.push(signal);
            return;
        }
        key = match key {
            b'\r' if attributes.input & IGNCR != 0 => return,
            b'\r' if attributes.input & ICRNL != 0 => b'\n',
            b'\n' if attributes.input & INLCR != 0 => b'\r',
            key => key,
        };
        if attributes.is_canonical() {
            self.edit(key, effects);
        } else if self.ready.len() < MAX_READY {
            self.ready.push_back(key);
            self.echo(key, effects);
        } else {
            self.ring(effects);
        }
    }

    /// Applies a key to the line that is being edited.
    fn edit(&mut self, key: u8, effects: &mut KeyEffects) {
        let attributes = self.attributes;
        let extended = attributes.local & IEXTEN != 0;
        if attributes.is_key(VERASE, key) {
            self.erase_character(effects);
        } else if attributes.is_key(VKILL, key) {
            while !self.edited.is_empty() {
                self.erase_character(effects);
            }
        } else if extended && attributes.is_key(VWERASE, key) {
            self.erase_word(effects);
        } else if extended && attributes.is_key(VLNEXT, key) {
            self.is_literal = true;
            if attributes.echoes() && attributes.local & ECHOCTL != 0 {
                effects.echo.extend_from_slice(b"^\x08");
            }
        } else if extended && attributes.is_key(VREPRINT, key) {
            if attributes.echoes() {
                self.echo(key, effects);
                effects.echo.extend_from_slice(b"\r\n");
                for byte in self.edited.clone() {
                    self.echo(byte, effects);
                }
            }
        } else if attributes.is_key(VEOF, key) {
            self.complete_line();
        } else if key == b'\n' || attributes.is_key(VEOL, key) || attributes.is_key(VEOL2, key) {
            if self.ready.len() + self.edited.len() >= MAX_READY {
                return self.ring(effects);
            }
            self.edited.push(key);
            if key == b'\n' {
                if attributes.local & (ECHO | ECHONL) != 0 {
                    attributes.process_output(b"\n", &mut effects.echo);
                }
            } else {
                self.echo(key, effects);
            }
            self.complete_line();
        } else {
            self.insert(key, effects);
        }
    }

    fn insert(&mut self, key: u8, effects: &mut KeyEffects) {
        let is_canonical = self.attributes.is_canonical();
        let room = MAX_READY - self.ready.len().min(MAX_READY);
        if is_canonical && self.edited.len() >= MAX_LINE.min(room) || room == 0 {
            return self.ring(effects);
        }
        if is_canonical {
            self.edited.push(key);
        } else {
            self.ready.push_back(key);
        }
        self.echo(key, effects);
    }

    /// Makes the edited line readable; an empty one is an end of file.
    fn complete_line(&mut self) {
        // Each end of file takes an entry, so that keys which nobody reads must not add them without bound.
        if self.lines.len() >= MAX_READY {
            return;
        }
        if self.attributes.is_canonical() {
            self.lines.push_back(self.edited.len());
        }
        self.ready.extend(self.edited.drain(..));
    }

    fn ring(&self, effects: &mut KeyEffects) {
        if self.attributes.input & IMAXBEL != 0 && effects.echo.last() != Some(&0x07) {
            effects.echo.push(0x07);
        }
    }

    fn echo(&self, key: u8, effects: &mut KeyEffects) {
        if !self.attributes.echoes() {
            return;
        }
        match key {
            b'\n' => self.attributes.process_output(b"\n", &mut effects.echo),
            b'\t' => effects.echo.push(key),
            ..0x20 | 0x7f if self.attributes.local & ECHOCTL != 0 => {
                effects.echo.extend_from_slice(&[b'^', key ^ 0x40]);
            }
            _ => effects.echo.push(key),
        }
    }

    /// Erases a character with all its bytes, on the screen too.
    fn erase_character(&mut self, effects: &mut KeyEffects) {
        let is_utf8 = self.attributes.input & IUTF8 != 0;
        let mut last = match self.edited.pop() {
            Some(last) => last,
            None => return,
        };
        while is_utf8 && (0x80..0xc0).contains(&last) {
            match self.edited.pop() {
                Some(byte) => last = byte,
                None => break,
            }
        }
        if !self.attributes.echoes() || self.attributes.local & ECHOE == 0 {
            return;
        }
        let columns = match last {
            b'\t' => self.tab_width(),
            ..0x20 | 0x7f if self.attributes.local & ECHOCTL != 0 => 2,
            ..0x20 | 0x7f => 0,
            _ => 1,
        };
        for _ in 0..columns {
            effects.echo.extend_from_slice(b"\x08 \x08");
        }
    }

    /// Returns the width of a tab behind the edited line, if the line began at a tab stop.
    fn tab_width(&self) -> usize {
        let mut column = 0;
        for byte in &self.edited {
            column = match byte {
                b'\t' => column / 8 * 8 + 8,
                ..0x20 | 0x7f => column + 2,
                0x80..0xc0 => column,
                _ => column + 1,
            };
        }
        8 - column % 8
    }

    fn erase_word(&mut self, effects: &mut KeyEffects) {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        while self.edited.last().is_some_and(|byte| !is_word(byte)) {
            self.erase_character(effects);
        }
        while self.edited.last().is_some_and(is_word) {
            self.erase_character(effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(terminal: &mut LineDiscipline, keys: &str) -> (String, Vec<u8>) {
        let effects = terminal.push(keys.as_bytes());
        (String::from_utf8(effects.echo).unwrap(), effects.signals)
    }

    fn read(terminal: &mut LineDiscipline) -> Option<String> {
        terminal.readable()?;
        let mut buffer = [0; 100];
        let length = terminal.read(&mut buffer);
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn line_is_readable_when_it_is_complete() {
        let mut terminal = LineDiscipline::new();
        assert_eq!(typed(&mut terminal, "hi").0, "hi");
        assert_eq!(read(&mut terminal), None);
        assert_eq!(typed(&mut terminal, "\rnext\r").0, "\r\nnext\r\n");
        assert_eq!(read(&mut terminal).as_deref(), Some("hi\n"));
        assert_eq!(read(&mut terminal).as_deref(), Some("next\n"));
        assert_eq!(read(&mut terminal), None);
    }

    #[test]
    fn long_line_is_read_in_parts() {
        let mut terminal = LineDiscipline::new();
        typed(&mut terminal, "abc\rd\r");
        let mut two = [0; 2];
        assert_eq!(terminal.read(&mut two), 2);
        assert_eq!(read(&mut terminal).as_deref(), Some("c\n"));
        assert_eq!(read(&mut terminal).as_deref(), Some("d\n"));
    }

    #[test]
    fn keys_that_edit_change_the_line_and_the_screen() {
        for (keys, line, screen) in [
            ("ab\x7fc\r", "ac\n", "ab\x08 \x08c\r\n"),
            ("ü\x7fx\r", "x\n", "ü\x08 \x08x\r\n"),
            (
                "a\t\x7f\r",
                "a\n",
                "a\t\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\r\n",
            ),
            ("\x7f\x7fa\r", "a\n", "a\r\n"),
            (
                "one two\x17x\r",
                "one x\n",
                "one two\x08 \x08\x08 \x08\x08 \x08x\r\n",
            ),
            ("ab\x15c\r", "c\n", "ab\x08 \x08\x08 \x08c\r\n"),
            ("\x16\x03\r", "\x03\n", "^\x08^C\r\n"),
            ("a\x12b\r", "ab\n", "a^R\r\nab\r\n"),
            ("\x01\r", "\x01\n", "^A\r\n"),
        ] {
            let mut terminal = LineDiscipline::new();
            let (echo, signals) = typed(&mut terminal, keys);
            assert_eq!(echo, screen, "{keys:?}");
            assert_eq!(read(&mut terminal).as_deref(), Some(line), "{keys:?}");
            assert!(signals.is_empty());
        }
    }

    #[test]
    fn end_of_file_ends_one_read() {
        let mut terminal = LineDiscipline::new();
        typed(&mut terminal, "\x04ab\x04c\r");
        assert_eq!(read(&mut terminal).as_deref(), Some(""));
        assert_eq!(read(&mut terminal).as_deref(), Some("ab"));
        assert_eq!(read(&mut terminal).as_deref(), Some("c\n"));
        typed(&mut terminal, "rest");
        terminal.end();
        assert_eq!(read(&mut terminal).as_deref(), Some("rest"));
        assert_eq!(read(&mut terminal).as_deref(), Some(""));
        assert_eq!(read(&mut terminal).as_deref(), Some(""));
    }

    #[test]
    fn keys_for_signals_discard_the_input() {
        let mut terminal = LineDiscipline::new();
        let (echo, signals) = typed(&mut terminal, "ab\rcd\x03\x1c\x1a");
        assert_eq!(echo, "ab\r\ncd^C^\\^Z");
        assert_eq!(signals, [SIGINT, SIGQUIT, SIGTSTP]);
        assert_eq!(read(&mut terminal), None);
    }

    #[test]
    fn raw_mode_passes_every_key() {
        let mut terminal = LineDiscipline::new();
        typed(&mut terminal, "ab");
        let mut raw = *terminal.attributes();
        raw.input = 0;
        raw.output = 0;
        raw.local = 0;
        terminal.set_attributes(raw);
        assert_eq!(read(&mut terminal).as_deref(), Some("ab"));
        let (echo, signals) = typed(&mut terminal, "\r\x03\x04\x7f");
        assert_eq!((echo.as_str(), signals.len()), ("", 0));
        assert_eq!(read(&mut terminal).as_deref(), Some("\r\x03\x04\x7f"));
        typed(&mut terminal, "x");
        terminal.set_attributes(TerminalAttributes::sane());
        assert_eq!(read(&mut terminal).as_deref(), Some("x"));
        let mut shown = Vec::new();
        raw.process_output(b"a\n", &mut shown);
        TerminalAttributes::sane().process_output(b"b\n\nc", &mut shown);
        assert_eq!(shown, b"a\nb\r\n\r\nc");
    }

    #[test]
    fn unread_input_is_bounded() {
        let mut terminal = LineDiscipline::new();
        for keys in [
            "x".repeat(10_000),
            "\x04".repeat(100_000),
            "y\r".repeat(100_000),
        ] {
            let effects = terminal.push(keys.as_bytes());
            assert!(effects.echo.len() <= 3 * keys.len());
        }
        assert!(terminal.ready.len() <= MAX_READY + MAX_LINE);
        assert!(terminal.lines.len() <= MAX_READY);
    }

    #[test]
    fn settings_have_the_form_of_the_kernel() {
        let sane = TerminalAttributes::sane();
        assert_eq!(TerminalAttributes::from_bytes(&sane.to_bytes()), sane);
        assert_eq!(sane.to_bytes()[17], 3);
    }
}
