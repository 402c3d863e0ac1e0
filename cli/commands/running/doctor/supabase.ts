import type { Config, Setting } from '../../../../shared/settings/variables.ts';
import type { ConfigWith } from '../../../../shared/settings/config.ts';
import { connectLongTerm } from '../../../../shared/long-term/long-term.ts';
import { SCHEMA_FILE, SCHEMA_VERSION, SEARCH_FILE } from '../../../../shared/long-term/schema.ts';
import { type Finding, type Mends, attempt } from './finding.ts';

const MIGRATE = `apply ${SCHEMA_FILE}; its first lines say how`;

const SUPABASE_MENDS: Mends = [
  [
    /refused the key/,
    'SUPABASE_SERVICE_ROLE_KEY: the service role (secret) key of the project that SUPABASE_URL names',
  ],
  [/missing/, MIGRATE],
  [/./, 'start it, or correct SUPABASE_URL'],
];

export async function examineSupabase(config: Config): Promise<Finding[]> {
  if (!has(config, ['supabaseUrl', 'supabaseServiceRoleKey'])) return [];
  const longTerm = connectLongTerm(config);
  const tables = await attempt('Supabase', SUPABASE_MENDS, async () => {
    await longTerm.check();
    return 'both tables answer';
  });
  if (!tables.ok) return [tables];
  const schema = await attempt('schema', MIGRATE, async () => {
    const version = await longTerm.schemaVersion();
    if (version < SCHEMA_VERSION) throw new Error(`version ${version}, this Mnemoq needs ${SCHEMA_VERSION}`);
    return `version ${version}`;
  });
  if (!schema.ok) return [tables, schema];
  const search = await attempt('search', SUPABASE_MENDS, async () =>
    (await longTerm.questions.canSearch()) ? 'installed' : `not installed (optional): ${SEARCH_FILE}`,
  );
  return [tables, schema, search];
}

function has<const K extends Setting>(config: Config, settings: readonly K[]): config is ConfigWith<K> {
  return settings.every((setting) => config[setting] !== undefined);
}
