import { bind } from "../_shared/http/bind.ts";
import { Deno } from "../_shared/runtime/deno.ts";
import { environmentWithRuns } from "../_shared/runtime/isolate-runs.ts";
import { runProviderTasksEndpoint } from "./endpoint.ts";

Deno.serve(bind(runProviderTasksEndpoint, environmentWithRuns()));
