import assert from "node:assert/strict";
import { test } from "node:test";
import { falRouting } from "../supabase/functions/_shared/providers/variables.ts";
import { readSettings } from "./settings.ts";

test("DARKROOM_SANDBOX is on, off or left to the rule, and nothing else", () => {
  const sandboxOf = (value: string) => readSettings({}, { DARKROOM_SANDBOX: value }).sandbox;
  assert.deepEqual([sandboxOf("on"), sandboxOf("OFF"), sandboxOf(" ")], [true, false, undefined]);
  assert.throws(() => sandboxOf("yes"), /DARKROOM_SANDBOX must be on or off, not "yes"/);
});

const s3Of = (environment: NodeJS.ProcessEnv) => readSettings({}, environment).s3;

test("files go to S3 when a bucket is named, with our settings first and AWS's after them", () => {
  assert.equal(
    s3Of({ AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", DARKROOM_S3_BUCKET: " " }),
    undefined,
  );
  const shared = {
    DARKROOM_S3_BUCKET: "files",
    AWS_REGION: "eu-west-1",
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_SESSION_TOKEN: "c",
  };
  assert.deepEqual(s3Of(shared), {
    endpoint: "https://s3.eu-west-1.amazonaws.com",
    bucket: "files",
    region: "eu-west-1",
    accessKeyId: "a",
    secretAccessKey: "b",
    sessionToken: "c",
  });
  const own = {
    ...shared,
    DARKROOM_S3_ENDPOINT: "http://127.0.0.1:9000",
    DARKROOM_S3_REGION: "auto",
    DARKROOM_S3_ACCESS_KEY_ID: "x",
    DARKROOM_S3_SECRET_ACCESS_KEY: "y",
  };
  assert.deepEqual(s3Of(own), {
    endpoint: "http://127.0.0.1:9000",
    bucket: "files",
    region: "auto",
    accessKeyId: "x",
    secretAccessKey: "y",
    // Goes with AWS's key, not with ours.
    sessionToken: undefined,
  });
});

test("settings of S3 that cannot work are said at start", () => {
  assert.throws(() => s3Of({ DARKROOM_S3_BUCKET: "files" }), /needs DARKROOM_S3_ACCESS_KEY_ID/);
  const key = { DARKROOM_S3_ACCESS_KEY_ID: "x", DARKROOM_S3_SECRET_ACCESS_KEY: "y" };
  const wrong = { ...key, DARKROOM_S3_BUCKET: "files", DARKROOM_S3_ENDPOINT: "minio:9000" };
  assert.throws(() => s3Of(wrong), /"minio:9000" is not the URL/);
});

test("DARKROOM_STOP_DELAY_MS is 500 when it is not set, and must leave time for the rest of a stop", () => {
  const delayOf = (text?: string) => readSettings({}, { DARKROOM_STOP_DELAY_MS: text }).stopDelayMilliseconds;
  assert.equal(delayOf(), 500);
  assert.equal(delayOf("0"), 0);
  assert.equal(delayOf("3000"), 3_000);
  for (const wrong of ["3001", "-1", "1s"])
    assert.throws(() => delayOf(wrong), /must be between 0 and 3000/, wrong);
});

test("DARKROOM_FAL_RUNS and DARKROOM_FAL_AFTER_SECONDS are a rule and seconds, or left to the default", () => {
  const routing = (runs?: string, after?: string) =>
    falRouting(readSettings({}, { DARKROOM_FAL_RUNS: runs, DARKROOM_FAL_AFTER_SECONDS: after }).fal);
  assert.deepEqual(routing(), { runs: undefined, afterSeconds: undefined });
  assert.deepEqual(routing(" ", ""), { runs: undefined, afterSeconds: undefined });
  assert.deepEqual(routing("All", "0"), { runs: "all", afterSeconds: 0 });
  assert.throws(() => routing("some"), /DARKROOM_FAL_RUNS must be missing, all or none, not "some"/);
  for (const wrong of ["-1", "1.5", "604801", "5m"])
    assert.throws(
      () => routing("none", wrong),
      /DARKROOM_FAL_AFTER_SECONDS must be between 0 and 604800/,
      wrong,
    );
});
