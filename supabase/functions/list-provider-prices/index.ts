import { bind } from "../_shared/http/bind.ts";
import { Deno, environment } from "../_shared/runtime/deno.ts";
import { listProviderPricesEndpoint } from "./endpoint.ts";

Deno.serve(bind(listProviderPricesEndpoint, environment()));
