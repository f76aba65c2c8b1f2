import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import { assertNone } from "./assert-none.ts";
import { textOf } from "./sources.ts";

const page = textOf("docs/product-document.md");
const titles = [...textOf("test/acceptance/product-document.test.ts").matchAll(/\btest\(\s*"([^"]+)"/g)].map(
  ([, title = ""]) => title,
);

test("docs/product-document.md names a test for each sentence, and every test of the document", () => {
  const listed = [...page.matchAll(/^ {2}- `(.+)`$/gm)].map(([, title = ""]) => title);
  assert.ok(titles.length > 20, "the titles were found");
  assertNone(
    listed.filter((title) => !titles.includes(title)),
    "These tests are on the page, but not in test/acceptance/product-document.test.ts:",
  );
  assertNone(
    titles.filter((title) => !listed.includes(title)),
    "These tests are not on the page:",
  );
  const sentences = page.split("\n").filter((line, index, lines) => {
    return line.startsWith("- ") && !lines[index + 1]?.startsWith("  - `");
  });
  assertNone(sentences, "These sentences have no test:");
});

test("the pages that docs/product-document.md names are there", () => {
  const links = [...page.matchAll(/\]\(([^)#]+)/g)].map(([, link = ""]) => link);
  assert.ok(links.length > 5, "the links were found");
  assertNone(
    links.filter((link) => !existsSync(projectPath(`docs/${link}`))),
    "These pages are missing:",
  );
});
