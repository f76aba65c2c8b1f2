import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import type { BillingVariables } from "../supabase/functions/_shared/billing/variables.ts";
import { withDatabase } from "../test/support/database.ts";
import { isLocalInstallation, isProxied, markLocalHost, sandboxRuns } from "./local-host.ts";

const billing = (key: string) => ({ STRIPE_SECRET_KEY: key }) as BillingVariables;
const databaseUrl = "postgres://db.example/darkroom";

test("the sandbox runs by default without FAL's key, without a live Stripe key and on the embedded database alone", () => {
  assert.equal(sandboxRuns({}), true);
  assert.equal(sandboxRuns({ billing: billing("sk_test_1") }), true);
  for (const installation of [
    { fal: { FAL_KEY: "key" } },
    { databaseUrl },
    { billing: billing("sk_live_1") },
    { billing: billing(" rk_live_1") },
  ]) {
    assert.equal(sandboxRuns(installation), false, JSON.stringify(installation));
    assert.equal(sandboxRuns({ ...installation, sandbox: true }), true);
  }
  assert.equal(sandboxRuns({ sandbox: false }), false);
});

test("an installation is local when it listens on loopback under no other address, with its own database and no live Stripe key", () => {
  for (const local of [
    {},
    { hostname: "127.0.0.1" },
    { hostname: "::1" },
    { hostname: "localhost" },
    { apiUrl: "http://localhost:54321" },
    { apiUrl: "http://[::1]:54321" },
    { billing: billing("sk_test_1") },
    { fal: { FAL_KEY: "key" } },
  ]) {
    assert.equal(isLocalInstallation(local), true, JSON.stringify(local));
  }
  for (const reachable of [
    { hostname: "0.0.0.0" },
    { hostname: "::" },
    { hostname: "192.168.1.2" },
    { hostname: "127.0.0.1.example.com" },
    { hostname: "localhost.example.com" },
    { databaseUrl },
    { apiUrl: "https://api.example.com" },
    { apiUrl: "not a url" },
    { billing: billing("sk_live_1") },
    { billing: billing("rk_live_1") },
  ]) {
    assert.equal(isLocalInstallation(reachable), false, JSON.stringify(reachable));
  }
});

test("a request is proxied when a header says so or its host is another name than this machine's", () => {
  for (const host of ["127.0.0.1:54321", "localhost", "[::1]:54321", "studio.localhost:80", "LOCALHOST"]) {
    assert.equal(isProxied(new Headers({ host })), false, host);
  }
  for (const headers of [
    {},
    { host: "" },
    { host: "api.example.com" },
    { host: "127.0.0.1.nip.io" },
    { host: "a b" },
    { host: "localhost", "x-forwarded-for": "127.0.0.1" },
    { host: "localhost", forwarded: "for=192.0.2.1" },
    { host: "localhost", via: "1.1 proxy" },
    { host: "localhost", "x-real-ip": "192.0.2.1" },
    { host: "localhost", "cf-connecting-ip": "192.0.2.1" },
  ]) {
    assert.equal(isProxied(new Headers(headers)), true, JSON.stringify(headers));
  }
});

test("a local host stops counting as local before it serves the first request that came through a proxy", () =>
  withDatabase(async ({ sql }) => {
    const log = pino({ level: "silent" });
    const isLocal = async () => {
      const [row] = await sql<{ is_local_host: boolean }[]>`select is_local_host from credit_settings`;
      return row?.is_local_host;
    };
    assert.equal(await isLocal(), false);
    const host = await markLocalHost(sql, true, log);
    await host.notice(new Headers({ host: "localhost:54321" }));
    assert.equal(await isLocal(), true);
    await host.notice(new Headers({ host: "api.example.com" }));
    assert.equal(await isLocal(), false);
    // A start that is not local takes back what an earlier one wrote.
    await markLocalHost(sql, true, log);
    assert.equal(await isLocal(), true);
    const reachable = await markLocalHost(sql, false, log);
    assert.equal(await isLocal(), false);
    await reachable.notice(new Headers({ host: "localhost" }));
    assert.equal(await isLocal(), false);
  }));
