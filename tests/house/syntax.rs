//! What a source file depends on, read from its syntax tree: every path, wherever it stands.

use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// A source file of the program.
pub(super) struct Source {
    /// Its path below `src`.
    pub(super) file: String,
    /// The path of its module, without `crate`.
    pub(super) module: Vec<String>,
    /// What its first comment says.
    pub(super) about: String,
    /// Every path in it, with what `use`, `self` and `super` stand for; those of this crate begin with `crate`.
    pub(super) paths: BTreeSet<Vec<String>>,
    /// Those that `pub use` passes on.
    pub(super) reexported: BTreeSet<Vec<String>>,
    /// The handles of metrics that are made in it.
    pub(super) handles: BTreeSet<String>,
    /// The names of methods that are called.
    pub(super) methods: BTreeSet<String>,
    /// Whether there is `unsafe` in it.
    pub(super) has_unsafe: bool,
}

impl Source {
    /// Reads a file: its path below `src`, and its text.
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}"));
        let stem = file.trim_end_matches(".rs").replace("/mod", "");
        let module: Vec<String> = match stem.as_str() {
            "lib" | "main" => Vec::new(),
            stem => stem.split('/').map(str::to_owned).collect(),
        };
        let about: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let mut reader = Reader { module: module.clone(), ..Reader::default() };
        reader.visit_file(&tree);
        let Reader { names, found, reexported, handles, methods, has_unsafe, .. } = reader;
        // `fs::read` after `use std::fs` is `std::fs::read`.
        let whole = |path: Vec<String>| match names.get(&path[0]) {
            Some(full) => full.iter().chain(&path[1..]).cloned().collect(),
            None => path,
        };
        let paths = found.into_iter().map(whole).chain(names.values().cloned()).collect();
        Self {
            file: file.to_owned(),
            module,
            about: about.join("\n"),
            paths,
            reexported,
            handles,
            methods,
            has_unsafe,
        }
    }
}

/// The names of the handles in the rows of [`connscope::metrics!`].
fn handles(rows: syn::parse::ParseStream<'_>) -> syn::Result<Vec<String>> {
    let mut handles = Vec::new();
    while !rows.is_empty() {
        rows.call(syn::Attribute::parse_outer)?;
        handles.push(rows.parse::<syn::Ident>()?.to_string());
        rows.parse::<syn::Token![:]>()?;
        while rows.parse::<Option<syn::Token![;]>>()?.is_none() {
            rows.step(|cursor| {
                Ok(((), cursor.token_tree().ok_or_else(|| cursor.error("a row ends with `;`"))?.1))
            })?;
        }
    }
    Ok(handles)
}

#[derive(Default)]
struct Reader {
    module: Vec<String>,
    /// What each imported name stands for.
    names: BTreeMap<String, Vec<String>>,
    found: BTreeSet<Vec<String>>,
    reexported: BTreeSet<Vec<String>>,
    handles: BTreeSet<String>,
    methods: BTreeSet<String>,
    has_unsafe: bool,
}

impl Reader {
    /// With `self` and `super` replaced; `crate` stays the first segment.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = path.as_slice();
        if !matches!(rest[0].as_str(), "self" | "super") {
            return path;
        }
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = more;
        }
        std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect()
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), public),
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, public));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            syn::UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
            syn::UseTree::Glob(_) => (format!("{}::*", before.join("::")), before.to_vec()),
        };
        let path = self.absolute(path);
        if public {
            self.reexported.insert(path.clone());
        }
        self.found.insert(path.clone());
        self.names.insert(name, path);
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.import(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let path_here = self.absolute(segments);
        self.found.insert(path_here);
        visit::visit_path(self, path);
    }

    /// What stands in a macro is no tree, but its words are there.
    fn visit_macro(&mut self, found: &'a syn::Macro) {
        visit::visit_macro(self, found);
        if found.path.segments.last().is_some_and(|name| name.ident == "metrics") {
            self.handles.extend(found.parse_body_with(handles).expect("rows as `metrics!` takes them"));
        }
        let text = found.tokens.to_string().replace(":: ", "::").replace(" ::", "::");
        let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
        for word in text.split(word).filter(|word| !word.is_empty() && !word.starts_with(':')) {
            self.has_unsafe |= word == "unsafe";
            let path: Vec<String> = word.trim_end_matches(':').split("::").map(str::to_owned).collect();
            if path.len() > 1 && path.iter().all(|segment| !segment.is_empty()) {
                let path = self.absolute(path);
                self.found.insert(path);
            }
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.methods.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, block: &'a syn::ExprUnsafe) {
        self.has_unsafe = true;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'a syn::Signature) {
        self.has_unsafe |= signature.unsafety.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        self.has_unsafe |= item.unsafety.is_some();
        visit::visit_item_impl(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'a syn::ItemForeignMod) {
        self.has_unsafe |= item.unsafety.is_some();
        visit::visit_item_foreign_mod(self, item);
    }
}
