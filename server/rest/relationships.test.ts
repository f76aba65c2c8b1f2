import assert from "node:assert/strict";
import { test } from "node:test";
import { findRelationship, type ForeignKey, relationshipsOf } from "./relationships.ts";
import { RestError } from "./rest-error.ts";

function key(constraint: string, origin: string, own: string[], target: string, other: string[]): ForeignKey {
  const columns = own.map((name, index) => ({ own: name, other: other[index] ?? "" }));
  return { constraint, origin, target, columns, isUnique: false };
}

const relationships = relationshipsOf(
  [
    key("posts_author", "posts", ["author"], "people", ["id"]),
    key("posts_editor", "posts", ["editor"], "people", ["id"]),
    key("post_tags_post", "post_tags", ["post"], "posts", ["id"]),
    key("post_tags_tag", "post_tags", ["tag"], "tags", ["id"]),
    key("likes_post", "likes", ["post"], "posts", ["id"]),
    key("likes_person", "likes", ["person"], "people", ["id"]),
    key("people_boss", "people", ["boss"], "people", ["id"]),
    key("parts_whole", "parts", ["a", "b"], "wholes", ["x", "y"]),
    { ...key("faces_person", "faces", ["person"], "people", ["id"]), isUnique: true },
  ],
  new Map([
    ["post_tags", { primaryKey: ["post", "tag"] }],
    ["likes", { primaryKey: ["id"] }],
  ]),
);

const found = (origin: string, target: string, hint?: string) => {
  const { constraint, cardinality } = findRelationship(relationships, origin, target, hint);
  return `${constraint} ${cardinality}`;
};

function refusedAs(code: string, find: () => unknown): void {
  assert.throws(find, (error) => error instanceof RestError && error.code === code);
}

test("findRelationship() takes a table, a key, a column or a hint", () => {
  assert.equal(found("posts", "people", "author"), "posts_author many-to-one");
  assert.equal(found("posts", "people", "posts_editor"), "posts_editor many-to-one");
  assert.equal(found("posts", "editor"), "posts_editor many-to-one");
  assert.equal(found("posts", "posts_author"), "posts_author many-to-one");
  assert.equal(found("people", "posts", "author"), "posts_author one-to-many");
  assert.equal(found("people", "faces"), "faces_person one-to-one");
  assert.equal(found("faces", "people"), "faces_person one-to-one");
  assert.equal(found("parts", "wholes"), "parts_whole many-to-one");
  // One key of a table to itself: the many by the table's name, the one by the column's.
  assert.equal(found("people", "people"), "people_boss one-to-many");
  assert.equal(found("people", "boss"), "people_boss many-to-one");
});

test("a table between is a many-to-many only if its primary key holds both keys", () => {
  assert.equal(found("posts", "tags"), "post_tags_post many-to-many");
  assert.equal(found("tags", "posts", "post_tags"), "post_tags_tag many-to-many");
  refusedAs("PGRST201", () => found("posts", "people"));
  refusedAs("PGRST200", () => found("posts", "people", "likes"));
});

test("findRelationship() says what it did not find, and what it cannot tell apart", () => {
  refusedAs("PGRST200", () => found("posts", "wholes"));
  refusedAs("PGRST200", () => found("nowhere", "posts"));
  refusedAs("PGRST200", () => found("posts", "people", "nope"));
  refusedAs("PGRST200", () => found("parts", "a"));
  assert.throws(
    () => found("posts", "people"),
    (error: RestError) => error.status === 300 && Array.isArray(error.details) && error.details.length === 2,
  );
});
