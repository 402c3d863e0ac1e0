import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import { printJson } from '../../terminal/output.ts';
import { type PackageManifest, packageFile, readPackage } from '../../process/package.ts';

/** The memory is what the other modules of an agent system call, so a loader that starts with the lowest takes it first. */
const LOAD_PRIORITY = 0;

/** What a module loader registers: where the module is and what it needs. */
interface ModuleManifest {
  name: string;
  /** The package's folder, absolute. */
  path: string;
  /** The entry to import, relative to `path`. */
  main: string;
  /** Packages it needs at run time, by name. */
  dependencies: string[];
  /** `module`: an ES module. */
  type: string;
  description: string;
  /** Lower loads earlier. */
  load_priority: number;
}

export function manifestCommand(): Command {
  return new Command('manifest')
    .description('print how a module loader registers Mnemoq, as JSON')
    .addOption(jsonOption('print JSON, as it does anyway'))
    .action(() => printJson(toManifest(readPackage(), path.dirname(packageFile()))));
}

function toManifest(
  { name, type, description, dependencies, exports }: PackageManifest,
  folder: string,
): ModuleManifest {
  const { import: built, 'mnemoq-source': source } = exports['.'];
  return {
    name,
    path: folder,
    // A clone in which nothing was built runs from its sources.
    main: existsSync(path.join(folder, built)) ? built : source,
    dependencies: Object.keys(dependencies),
    type,
    description,
    load_priority: LOAD_PRIORITY,
  };
}
