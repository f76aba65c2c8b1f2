import { readFileSync } from "node:fs";
import { projectPath } from "../../../server/migrate.ts";

/** What FAL's endpoints take and answer, as the types of the official client say; written by `npm run generate fal-shapes`. */
export interface FalShapes {
  /** By endpoint: the names of its input and output in `types`. */
  endpoints: Record<string, { input: string; output: string }>;
  types: Record<string, ObjectShape>;
}

export type ObjectShape = Record<string, FieldShape>;

export interface FieldShape {
  type: TypeShape;
  required?: true;
  default?: unknown;
  /** Of a number, or of the sides of a size. */
  min?: number;
  max?: number;
  /** Of a text. */
  maxLength?: number;
  /** Of a list. */
  minItems?: number;
  maxItems?: number;
}

/** `file`: the address of a file that FAL fetches. */
export type TypeShape =
  | "string"
  | "number"
  | "boolean"
  | "file"
  | "unknown"
  | { enum: (string | number)[] }
  | { list: TypeShape }
  | { record: TypeShape }
  | { object: string }
  | { anyOf: TypeShape[] };

export const shapesFile = "test/support/fake-fal/shapes.json";

let read: FalShapes | undefined;

export function falShapes(): FalShapes {
  return (read ??= JSON.parse(readFileSync(projectPath(shapesFile), "utf8")) as FalShapes);
}

export function inputShape(endpoint: string): ObjectShape | undefined {
  return shapeOf(endpoint, "input");
}

export function outputShape(endpoint: string): ObjectShape | undefined {
  return shapeOf(endpoint, "output");
}

function shapeOf(endpoint: string, side: "input" | "output"): ObjectShape | undefined {
  const { endpoints } = falShapes();
  const names = Object.hasOwn(endpoints, endpoint) ? endpoints[endpoint] : undefined;
  return names && objectShape(names[side]);
}

export function objectShape(name: string): ObjectShape {
  const shape = falShapes().types[name];
  if (!shape) throw new Error(`${shapesFile} has no type ${name}`);
  return shape;
}
