import assert from "node:assert/strict";
import { test } from "node:test";
import { film } from "../../test/support/film.ts";
import { endlessFilms } from "../../test/support/hollow-media.ts";
import { png } from "../../test/support/png.ts";
import { readFilm } from "./mp4.ts";
import { pictureSource } from "./source-image.ts";

test("a clip is read; one that would keep its reader busy is not", async () => {
  assert.equal((await readFilm(film(), 100))?.packets.length, 2);
  for (const [name, bytes] of Object.entries(endlessFilms())) {
    const start = performance.now();
    assert.equal(await readFilm(bytes, 100), undefined, name);
    assert.ok(performance.now() - start < 2_000, name);
  }
});

test("a picture is known by its signature and its first bytes; other formats are not searched for a size", () => {
  const source = pictureSource(png());
  assert.deepEqual(source && [source.mediaType, source.width, source.height], ["image/png", 8, 8]);
  // A TIFF, which may have its size anywhere.
  assert.equal(
    pictureSource(Buffer.concat([Buffer.from("II*\0\x08\0\0\0", "latin1"), Buffer.alloc(1_000)])),
    undefined,
  );
});
