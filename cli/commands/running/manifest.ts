import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import { printJson } from '../../terminal/output.ts';
import { type PackageManifest, packageFile, readPackage } from '../../process/package.ts';

/** The other modules of an agent system call the memory, so a loader that starts with the lowest number loads it first. */
const LOAD_PRIORITY = 0;

/** The entry with which a module loader registers the module: where it is and what it needs. */
interface ModuleManifest {
  name: string;
  /** The absolute path of the folder of the package. */
  path: string;
  /** The entry to import, relative to `path`. */
  main: string;
  /** The names of the packages that it needs at run time. */
  dependencies: string[];
  /** The kind of the module: `module` is an ES module. */
  type: string;
  description: string;
  /** A module with a lower number is loaded earlier. */
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
    // A clone of the repository that was not built runs from its sources.
    main: existsSync(path.join(folder, built)) ? built : source,
    dependencies: Object.keys(dependencies),
    type,
    description,
    load_priority: LOAD_PRIORITY,
  };
}
