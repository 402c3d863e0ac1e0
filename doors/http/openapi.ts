import swagger, { type SwaggerTransform } from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { OpenAPIV3_1 } from 'openapi-types';

const TAGS = [
  { name: 'saving', description: 'What is handed over, and how far it has come.' },
  { name: 'reading', description: 'What is remembered.' },
  { name: 'reflections', description: 'Texts pinned to IPFS.' },
  { name: 'learning', description: 'What is made of memories: training data, shared knowledge, trends.' },
  { name: 'erasing', description: 'Forgetting, in every tier.' },
  { name: 'operating', description: 'For those who run it; service keys only.' },
  { name: 'health', description: 'For probes; no key needed.' },
];

const DESCRIPTION = `The memory of an AI agent system.

Every path but /health/… and /docs needs \`Authorization: Bearer\` with an API key (MEMORY_API_KEYS) or the token of a user
signed in to Supabase. A service key sees everything. A key bound to a user, and a signed-in user, sees and erases only what is
theirs; everything else is as if it did not exist. Where the server has no keys it takes requests of its own machine only.

Errors are \`application/problem+json\` (RFC 9457); branch on \`code\`. 429 and 503 come with \`Retry-After\`.`;

/** The page loads nothing from other hosts and no other page may frame it, so no other host learns who reads it, and when. */
const ONLY_FROM_HERE = {
  'default-src': "'self'",
  'img-src': ["'self'", 'data:'],
  'style-src': ["'self'", "'unsafe-inline'"],
  'base-uri': "'none'",
  'form-action': "'self'",
  'frame-ancestors': "'none'",
};

/** Serves the OpenAPI document of the routes that are added to `server` after this: a page at `/docs`, JSON at `/docs/json`. */
export async function addOpenApi(server: FastifyInstance, version: string): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Mnemoq',
        version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' } as never,
      },
      servers: [{ url: '/', description: 'This server.' }],
      tags: TAGS,
      security: [{ key: [] }, { user: [] }],
      components: {
        securitySchemes: {
          key: { type: 'http', scheme: 'bearer', description: 'A secret of MEMORY_API_KEYS.' },
          user: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: 'Of a user signed in to Supabase.',
          },
        },
      },
    },
    transform: withHeaders,
    transformObject: (document) => withoutUnused(jsonSchemaTransformObject(document) as OpenAPIV3_1.Document),
  });
  await server.register(swaggerUi, { routePrefix: '/docs', staticCSP: ONLY_FROM_HERE, logo: null as never });
}

/** Adds the headers of answers, which the transform for zod leaves out (fastify-type-provider-zod 7.0). */
const withHeaders: SwaggerTransform = (document) => {
  const transformed = jsonSchemaTransform(document);
  const answers = transformed.schema?.response as Record<string, object> | undefined;
  const given = (document.schema as { response?: Record<string, { headers?: object }> } | undefined)?.response;
  for (const [status, answer] of Object.entries(answers ?? {})) {
    const headers = given?.[status]?.headers;
    if (headers) Object.assign(answer, { headers });
  }
  return transformed;
};

/**
 * Removes the schemas that no path uses. The transform for zod lists every named schema of the process, and each one twice: as it
 * is sent and as it is received.
 */
function withoutUnused(document: OpenAPIV3_1.Document): OpenAPIV3_1.Document {
  const schemas = document.components?.schemas ?? {};
  const used = new Set<string>();
  const look = (text: string) => {
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      look(JSON.stringify(schemas[name] ?? {}));
    }
  };
  look(JSON.stringify(document.paths));
  const kept = Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
  return { ...document, components: { ...document.components, schemas: kept } };
}
