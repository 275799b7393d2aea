//! The JSON Schema of the configuration file, for editors and other programs.
//!
//! It is made from the settings by the test below and embedded as text: what makes it is not in the program.

/// The schema: a JSON text that ends with a line break.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use super::SCHEMA;
    use crate::config::Config;

    #[test]
    fn the_schema_equals_the_settings() {
        let schema = schemars::schema_for!(Config).to_value();
        let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
        text.push('\n');
        if text != SCHEMA {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/schema.json");
            std::fs::write(file, text).expect("the schema can be written");
            panic!("src/config/schema.json was stale and has been rewritten from the settings; commit it");
        }
    }
}
