//! [`Field`]: the shape of a request, and the walk that checks a frame against it before anything is decoded.
//!
//! The decoder of `kafka-protocol` reserves room for as many elements as an array claims to have: five bytes could
//! ask for all memory. So each frame is walked first, which allocates nothing: every length and every count has to
//! be covered by bytes that are there, and there are at most [`ELEMENTS_MAX`] elements over all arrays. What passes
//! is decoded, and takes up no more memory than its bytes and so many elements.
//!
//! Source of the encodings: the "Protocol Primitive Types" section of the Apache Kafka protocol documentation, and
//! KIP-482 for the compact ones and tagged fields.

/// Most elements of all arrays and tagged fields of a request together. More than there are partitions, unless
/// somebody has raised that limit far.
pub(super) const ELEMENTS_MAX: usize = 100_000;

/// Whether a structure that may be missing is there: 1 or -1.
const STRUCT: u8 = 1;
const NO_STRUCT: u8 = 0xff;

/// A field of a request, and the versions that have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    kind: Kind,
    since: i16,
    until: i16,
    /// Of a tagged field: it stands behind the others, if it is there.
    tag: Option<u32>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// So many bytes: numbers, booleans, UUIDs.
    Fixed(usize),
    /// A string, perhaps null.
    Text,
    /// Bytes, perhaps null.
    Bytes,
    /// An array of structures, perhaps null.
    Structs(&'static [Field]),
    /// A structure.
    Struct(&'static [Field]),
    /// A structure, or a byte that says that there is none.
    MaybeStruct(&'static [Field]),
    /// An array of 32-bit numbers, perhaps null.
    Ints,
    /// An array of strings, perhaps null. Unlike structures they are not followed by tagged fields.
    Texts,
}

pub(super) const BOOL: Field = Field::new(Kind::Fixed(1));
pub(super) const I8: Field = Field::new(Kind::Fixed(1));
pub(super) const I16: Field = Field::new(Kind::Fixed(2));
pub(super) const I32: Field = Field::new(Kind::Fixed(4));
pub(super) const I64: Field = Field::new(Kind::Fixed(8));
pub(super) const UUID: Field = Field::new(Kind::Fixed(16));
pub(super) const TEXT: Field = Field::new(Kind::Text);
pub(super) const BYTES: Field = Field::new(Kind::Bytes);
pub(super) const INTS: Field = Field::new(Kind::Ints);
pub(super) const TEXTS: Field = Field::new(Kind::Texts);

/// An array of structures with these fields.
pub(super) const fn array(fields: &'static [Field]) -> Field {
    Field::new(Kind::Structs(fields))
}

/// A structure with these fields.
pub(super) const fn structure(fields: &'static [Field]) -> Field {
    Field::new(Kind::Struct(fields))
}

/// A structure with these fields, or none.
pub(super) const fn maybe(fields: &'static [Field]) -> Field {
    Field::new(Kind::MaybeStruct(fields))
}

impl Field {
    const fn new(kind: Kind) -> Field {
        Field { kind, since: 0, until: i16::MAX, tag: None }
    }

    /// The field, in versions from this one on.
    pub(super) const fn since(self, version: i16) -> Field {
        Field { since: version, ..self }
    }

    /// The field, in versions up to this one.
    pub(super) const fn until(self, version: i16) -> Field {
        Field { until: version, ..self }
    }

    /// The field, with a tag.
    pub(super) const fn tagged(self, tag: u32) -> Field {
        Field { tag: Some(tag), ..self }
    }

    fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// Longest text, as in Kafka, also where the encoding has room for more.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Bytes that do not have the shape that they should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// Whether lengths are compact and structures end with tagged fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Classic,
    Flexible,
}

/// Checks that `body` begins with the shape of `fields` in a version. Bytes behind that are nobody's, as in Kafka:
/// librdkafka leaves three of them behind a request for all topics. Returns how long it is.
///
/// # Errors
/// What is wrong with it first.
pub(super) fn check(
    body: &[u8],
    fields: &[Field],
    version: i16,
    encoding: Encoding,
) -> Result<usize, Malformed> {
    let mut walk = Walk { rest: body, version, encoding, elements: 0 };
    walk.fields(fields)?;
    Ok(body.len() - walk.rest.len())
}

/// Takes the header's tagged fields off the front of `body`.
///
/// # Errors
/// When they are malformed.
pub(super) fn skip_tags(body: &mut &[u8]) -> Result<(), Malformed> {
    let mut walk = Walk { rest: body, version: 0, encoding: Encoding::Flexible, elements: 0 };
    walk.tags(&[])?;
    *body = walk.rest;
    Ok(())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    encoding: Encoding,
    elements: usize,
}

impl Walk<'_> {
    /// Recurses as deep as the shape does.
    fn fields(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.version) {
                self.kind(field.kind)?;
            }
        }
        match self.encoding {
            Encoding::Classic => Ok(()),
            Encoding::Flexible => self.tags(fields),
        }
    }

    fn kind(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(len) => self.skip(len),
            Kind::Text => self.text(),
            Kind::Bytes => {
                let len = self.long_len()?;
                self.skip(len.unwrap_or(0))
            }
            Kind::Ints => {
                let count = self.count()?;
                self.skip(4 * count)
            }
            Kind::Texts => (0..self.count()?).try_for_each(|_| self.text()),
            Kind::Struct(fields) => self.fields(fields),
            Kind::MaybeStruct(fields) => match self.byte()? {
                NO_STRUCT => Ok(()),
                STRUCT => self.fields(fields),
                _ => Err(Malformed("a structure is neither there nor not")),
            },
            Kind::Structs(fields) => (0..self.count()?).try_for_each(|_| self.fields(fields)),
        }
    }

    fn text(&mut self) -> Result<(), Malformed> {
        let len = match self.encoding {
            Encoding::Classic => self.classic_len::<2>()?,
            Encoding::Flexible => self.compact_len()?,
        };
        match len.unwrap_or(0) {
            len if len > TEXT_BYTES_MAX => Err(Malformed("a text is longer than there may be")),
            len => self.skip(len),
        }
    }

    /// Tagged fields: those that are known have to be what they should be, others are skipped.
    fn tags(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        let count = self.unsigned_varint()?;
        self.add_elements(count)?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let len = self.unsigned_varint()? as usize;
            let before = self.rest.len();
            let known = fields.iter().find(|field| field.tag == Some(tag) && field.is_in(self.version));
            match known {
                None => self.skip(len)?,
                Some(field) => self.kind(field.kind)?,
            }
            if before - self.rest.len() != len {
                return Err(Malformed("a tagged field has another length than it says"));
            }
        }
        Ok(())
    }

    /// The number of elements of an array, 0 for null. Each has at least a byte.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.long_len()?.unwrap_or(0);
        self.add_elements(u32::try_from(count).unwrap_or(u32::MAX))?;
        Ok(count)
    }

    fn add_elements(&mut self, count: u32) -> Result<(), Malformed> {
        let count = count as usize;
        self.elements = self.elements.saturating_add(count);
        if count > self.rest.len() {
            return Err(Malformed("an array claims more elements than there are bytes"));
        }
        if self.elements > ELEMENTS_MAX {
            return Err(Malformed("the request has too many elements"));
        }
        Ok(())
    }

    /// A length of 32 bits, or a compact one; `None` for null.
    fn long_len(&mut self) -> Result<Option<usize>, Malformed> {
        match self.encoding {
            Encoding::Classic => self.classic_len::<4>(),
            Encoding::Flexible => self.compact_len(),
        }
    }

    /// A signed length of `N` bytes, two or four; `None` for null.
    fn classic_len<const N: usize>(&mut self) -> Result<Option<usize>, Malformed> {
        let (len, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT_OFF)?;
        self.rest = rest;
        let is_negative = len[0] & 0x80 != 0;
        match len.iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte)) {
            _ if is_negative && len.iter().all(|byte| *byte == 0xff) => Ok(None),
            _ if is_negative => Err(Malformed("a length is negative")),
            len => Ok(Some(len)),
        }
    }

    /// An unsigned varint of one more than the length; `None` for null, which is 0.
    fn compact_len(&mut self) -> Result<Option<usize>, Malformed> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint is too long"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(len..).ok_or(CUT_OFF)?;
        Ok(())
    }
}

const CUT_OFF: Malformed = Malformed("the request is cut off");
