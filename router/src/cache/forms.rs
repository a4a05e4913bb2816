//! Encoded forms of stored responses: made once, kept beside what they were made of.
//!
//! A form is a response of its own in the store, under its response's key and the number of its coding, so that it is
//! bounded and evicted like any other. It is served in the place of the very response that it was made of and of no other:
//! a purge or a replacement of that one leaves a form that nobody finds.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::Cache;
use super::deliver::is_whole;
use super::store::Slot;
use super::stored::{Kept, Stored};
use crate::ask::Ask;
use crate::compress::compressible::is_compressible;
use crate::compress::encoder::{self, Effort};
use crate::compress::{AT_ONCE, Compression, headers, negotiation};
use crate::semantics::accept_encoding::ContentCoding;

/// Forms of large bodies that are made at once on this node, each on a thread beside the router's.
pub(super) const AT_A_TIME: usize = 2;

thread_local! {
    /// Where keys of forms are written.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a stored response knows of its forms.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// Whether it may have any.
    compressible: bool,
    /// The codings that one is being made in, or was in vain, a bit each.
    making: AtomicU8,
    /// What it is a form of itself.
    of: Weak<Stored>,
}

impl<G> Ask<G> {
    /// The form of a stored response that a client gets: an encoded one, if it asks for that and there is one by now.
    pub(crate) fn in_form(&self, stored: Arc<Stored>, request: &Parts) -> Arc<Stored> {
        if !stored.forms.compressible || self.site.compression == Compression::Off {
            return stored;
        }
        let Some(coding) = negotiation::wanted(&request.headers, negotiation::BY_SIZE) else {
            return stored;
        };
        // Ranges are those of the bytes as the app made them, and conditions are about these.
        if !is_whole(&stored, request) {
            return stored;
        }
        let cache = &self.router.cache;
        match cache.form(&stored, coding) {
            Some(form) => form,
            None if request.method == Method::GET => make(cache, &stored, coding).unwrap_or(stored),
            None => stored,
        }
    }
}

/// Makes a form, at once if that is quick; if not, the clients that come meanwhile have to do without.
fn make(cache: &Arc<Cache>, stored: &Arc<Stored>, coding: ContentCoding) -> Option<Arc<Stored>> {
    if !stored.forms.begin(coding) {
        return None;
    }
    if stored.body.len() <= AT_ONCE {
        return cache.make(stored, coding);
    }
    let Ok(turn) = cache.makers.clone().try_acquire_owned() else {
        stored.forms.end(coding);
        return None;
    };
    let (cache, stored) = (cache.clone(), stored.clone());
    tokio::task::spawn_blocking(move || {
        cache.make(&stored, coding);
        drop(turn);
    });
    None
}

impl Cache {
    /// The form that is kept of this very response.
    fn form(&self, stored: &Arc<Stored>, coding: ContentCoding) -> Option<Arc<Stored>> {
        let found = KEY.with_borrow_mut(|key| {
            write_key(key, &stored.key, coding);
            self.store.get(key)
        });
        match found {
            Some(Slot::Form(form)) if form.forms.is_of(stored) => Some(form),
            _ => None,
        }
    }

    /// Makes a form and keeps it, unless it would be no smaller: then it is not tried again.
    fn make(&self, stored: &Arc<Stored>, coding: ContentCoding) -> Option<Arc<Stored>> {
        let kept = stored.kept.as_ref()?;
        let body = encoder::whole(coding, Effort::Kept, &stored.body).ok()?;
        if body.len() >= stored.body.len() {
            return None;
        }
        // What encoders write into has room for more.
        let body = Bytes::copy_from_slice(&body);
        let mut form = encoded(stored, coding, body);
        let membership = self.groups.join(&form.key, &[]);
        let bytes = form.weight() as u64;
        form.kept = Some(Kept::of_form(kept.account.clone(), membership, bytes));
        let form = Arc::new(form);
        self.store.put(form.key.clone(), Slot::Form(form.clone()));
        // If it has been replaced or purged meanwhile, nobody would look for this.
        if !self.store.has(stored) {
            self.store.remove_forms(&stored.key);
        }
        stored.forms.end(coding);
        Some(form)
    }
}

/// A response in an encoded form.
fn encoded(stored: &Arc<Stored>, coding: ContentCoding, body: Bytes) -> Stored {
    let mut form = stored.with_body(body);
    headers::encoded(&mut form.headers, coding);
    let mut key = Vec::with_capacity(stored.key.len() + 1);
    write_key(&mut key, &stored.key, coding);
    Stored {
        key: key.into(),
        forms: Forms::of(stored),
        ..form
    }
}

/// The key of a form. A key of a response is a sequence of fields, none of which is one byte: no response has it.
fn write_key(out: &mut Vec<u8>, key: &[u8], coding: ContentCoding) {
    out.clear();
    out.extend_from_slice(key);
    out.push(coding as u8);
}

/// Calls `with` with the keys of all forms that a response may have.
pub(super) fn each_key(key: &[u8], mut with: impl FnMut(&[u8])) {
    let mut form = Vec::with_capacity(key.len() + 1);
    for coding in ContentCoding::ALL {
        write_key(&mut form, key, coding);
        with(&form);
    }
}

impl Forms {
    /// Those of a response whose body is here.
    pub(super) fn new(stored: &Stored) -> Self {
        let length = Some(stored.body.len() as u64);
        Self {
            compressible: is_compressible(stored.status, &stored.headers, length),
            ..Self::default()
        }
    }

    fn of(stored: &Arc<Stored>) -> Self {
        Self {
            of: Arc::downgrade(stored),
            ..Self::default()
        }
    }

    /// Whether there may be any.
    pub(super) fn any(&self) -> bool {
        self.compressible
    }

    /// Whether they are those of what is a form itself.
    pub(super) fn is_one(&self) -> bool {
        !self.of.ptr_eq(&Weak::new())
    }

    /// What this holds keeps its place in memory, so that no other response can be there.
    fn is_of(&self, stored: &Arc<Stored>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(stored))
    }

    /// Whether nobody else is making it or has in vain; who makes it must end that, unless it is in vain.
    fn begin(&self, coding: ContentCoding) -> bool {
        let bit = 1 << coding as u8;
        self.making.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    fn end(&self, coding: ContentCoding) {
        self.making
            .fetch_and(!(1 << coding as u8), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use corundum_abi::names::AppName;

    use super::super::stored::tests::page;
    use super::*;

    fn kept(cache: &Cache, body: Vec<u8>) -> Arc<Stored> {
        let app: AppName = "app".parse().unwrap();
        let account = cache.accounts.of(&app);
        let stored = page().with_body(body.into());
        cache.keep(stored, &account, &[], 0).unwrap()
    }

    #[test]
    fn what_gets_no_smaller_is_tried_once() {
        let cache = Arc::new(Cache::new(1 << 20));
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        let noise = kept(&cache, noise.take(5000).collect());
        for coding in ContentCoding::ALL {
            assert!(make(&cache, &noise, coding).is_none());
            assert!(!noise.forms.begin(coding), "{coding:?}");
        }
        let text = kept(&cache, vec![b'x'; 5000]);
        assert!(make(&cache, &text, ContentCoding::Gzip).is_some());
        // It may be evicted, and be made again.
        assert!(text.forms.begin(ContentCoding::Gzip));
    }
}
