// The types of an OpenAPI document's schemas, as TypeScript.

import openapiTS, { astToString } from "openapi-typescript";

const HEAD = "// Written by `npm run openapi` from the service's OpenAPI document; not to be changed by hand.\n\n";

export async function typesOf(document) {
  // Bodies are all named among the schemas; the paths themselves are in the client.
  return HEAD + astToString(await openapiTS({ ...document, paths: {} }));
}
