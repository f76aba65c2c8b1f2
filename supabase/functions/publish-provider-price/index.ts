import { bind } from "../_shared/http/bind.ts";
import { Deno, environment } from "../_shared/runtime/deno.ts";
import { publishProviderPriceEndpoint } from "./endpoint.ts";

Deno.serve(bind(publishProviderPriceEndpoint, environment()));
