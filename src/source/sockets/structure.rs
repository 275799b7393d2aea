//! Decoders of kernel structures that have grown over the releases.

/// Defines a type that borrows the bytes of a structure, with a method for each field.
///
/// `name: u32 = 148 unless 0 | u32::MAX` is the field at byte 148, in the byte order of the machine. It is `None` if
/// the kernel sent fewer bytes, or if its value stands for "unset".
macro_rules! structure {
    (
        $(#[$about:meta])*
        $name:ident {
            $($(#[$doc:meta])* $field:ident: $number:ty = $offset:literal $(unless $absent:pat)?,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a>(&'a [u8]);

        impl<'a> $name<'a> {
            /// Decodes these bytes; any length is valid.
            pub const fn new(bytes: &'a [u8]) -> Self {
                Self(bytes)
            }

            /// The bytes of the structure.
            pub const fn bytes(self) -> &'a [u8] {
                self.0
            }

            $(
                $(#[$doc])*
                pub fn $field(self) -> Option<$number> {
                    let number = <$number>::from_ne_bytes(*self.0.get($offset..)?.first_chunk()?);
                    $(if matches!(number, $absent) {
                        return None;
                    })?
                    Some(number)
                }
            )*
        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut fields = out.debug_struct(stringify!($name));
                $(if let Some(number) = self.$field() {
                    fields.field(stringify!($field), &number);
                })*
                fields.finish()
            }
        }
    };
}

pub(super) use structure;
