//! What one file of Rust uses of its crate.

use std::collections::BTreeMap;

use anyhow::Result;
use syn::{
    Attribute, File, Item, ItemFn, ItemImpl, ItemMod, ItemUse, Path, UseTree, Visibility,
    visit::{self, Visit},
};

/// Names from a crate's root to a module.
pub(super) type ModulePath = Vec<String>;

/// What one module uses of its crate, tests left out.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Modules that lie in files of their own.
    pub(super) children: Vec<String>,
    /// Paths from the crate's root that are used.
    pub(super) paths: Vec<ModulePath>,
    /// Names of other modules that this one shows as its own.
    pub(super) exports: BTreeMap<String, ModulePath>,
}

impl Imports {
    /// Reads a module that lies at `path`.
    ///
    /// # Errors
    /// When `text` is no Rust.
    pub(super) fn read(path: &ModulePath, text: &str) -> Result<Self> {
        let file: File = syn::parse_file(text)?;
        let mut reader = Reader {
            place: path.clone(),
            within: 0,
            imports: Self::default(),
        };
        // First, as paths may begin with the name of a child.
        reader.imports.children = file.items.iter().filter_map(child).collect();
        reader.visit_file(&file);
        Ok(reader.imports)
    }
}

fn child(item: &Item) -> Option<String> {
    let Item::Mod(module) = item else {
        return None;
    };
    let is_file = module.content.is_none() && !is_test(&module.attrs);
    is_file.then(|| module.ident.to_string())
}

/// Whether something is there for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|it| it.path().is_ident("cfg"));
    let mut conditions = cfg.filter_map(|it| it.meta.require_list().ok());
    // `test`, or `any(test, …)`.
    conditions.any(|list| {
        let condition = list.tokens.to_string();
        condition == "test" || condition.replace(' ', "").contains("(test")
    })
}

struct Reader {
    place: ModulePath,
    /// Modules in braces around the place, inside the file.
    within: usize,
    imports: Imports,
}

impl Reader {
    /// The path from the crate's root, if it is one into the crate.
    fn absolute(&self, names: &[String]) -> Option<ModulePath> {
        let (first, rest) = names.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([self.place.clone(), rest.to_vec()].concat()),
            "super" => {
                let supers = names.iter().take_while(|name| *name == "super").count();
                let up = supers.saturating_sub(self.within);
                let kept = self.place.len().checked_sub(up)?;
                Some([&self.place[..kept], &names[supers..]].concat())
            }
            name if self.within == 0 && self.imports.children.iter().any(|it| it == name) => {
                Some([self.place.clone(), names.to_vec()].concat())
            }
            _elsewhere => None,
        }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], is_shown: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident), is_shown),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before, is_shown);
                }
            }
            UseTree::Name(name) if name.ident == "self" => self.used(before, None),
            UseTree::Name(name) => {
                let shown = is_shown.then(|| name.ident.to_string());
                self.used(&with(&name.ident), shown);
            }
            UseTree::Rename(rename) => {
                let shown = is_shown.then(|| rename.rename.to_string());
                self.used(&with(&rename.ident), shown);
            }
            UseTree::Glob(_) => self.used(before, None),
        }
    }

    fn used(&mut self, names: &[String], shown: Option<String>) {
        if let Some(path) = self.absolute(names) {
            if let Some(name) = shown {
                self.imports.exports.insert(name, path.clone());
            }
            self.imports.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_test(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            self.within += 1;
            visit::visit_item_mod(self, module);
            self.within -= 1;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test(&item.attrs) {
            let is_shown = self.within == 0 && !matches!(item.vis, Visibility::Inherited);
            self.use_tree(&item.tree, &[], is_shown);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let names: Vec<String> = path
            .segments
            .iter()
            .map(|it| it.ident.to_string())
            .collect();
        if names.len() > 1 {
            self.used(&names, None);
        }
        visit::visit_path(self, path);
    }
}
