// Puts the command's many modules, and those of the packages that every start needs, into few files in dist/cli: starting up
// is mostly opening files. WebAssembly modules stay where they are: what a module finds beside itself it still
// finds in dist/src. The licences of the packages go along.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const source = path.join(root, 'dist/src')
const target = path.join(root, 'dist/cli')

/**
 * Modules that are loaded on demand, but together: each would be a file of its own, and so would be what some of them share. A start
 * opens all of its files at once, and a low limit of open files must allow that.
 */
const GROUPS = {
  commands: /^(commands\/(?!main\.js|map\.js)|ui\/(layouts|spec)\.js)/,
  remote: /^(checkpoints\/remote|storage\/(hub|s3|remote))\//,
  forms: /^lineage\/forms\//,
}
const groupOf = (file) =>
  Object.keys(GROUPS).find((name) => GROUPS[name].test(path.relative(source, file).split(path.sep).join('/')))
/** By group, the modules that are loaded on demand. */
const grouped = new Map(Object.keys(GROUPS).map((name) => [name, []]))
for (const entry of (await readdir(source, { recursive: true })).sort()) {
  if (!entry.endsWith('.js')) continue
  for (const found of onDemand(path.join(source, entry), await readFile(path.join(source, entry), 'utf8')))
    if (found.group && !grouped.get(found.group).includes(found.file)) grouped.get(found.group).push(found.file)
}

/** The dynamic imports of a module: their text, and which file of which group they load. */
function onDemand(from, text) {
  return [...text.matchAll(/\bimport\('(\.[^']+)'\)/g)].map(([whole, address]) => {
    const file = path.resolve(path.dirname(from), address)
    return { whole, file, group: groupOf(file) }
  })
}

/** A group is one module with the namespace of each of its modules. */
const groups = {
  name: 'groups',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^group:/ }, ({ path: name }) => ({ path: name.slice(6), namespace: 'group' }))
    onLoad({ filter: /./, namespace: 'group' }, ({ path: name }) => ({
      contents: grouped
        .get(name)
        .map((file, index) => `export * as m${index} from ${JSON.stringify(file)}`)
        .join('\n'),
      resolveDir: source,
    }))
  },
}

/** Modules keep the address that they had, as seen from the bundle, and load groups in place of their modules. */
const addresses = {
  name: 'addresses',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path: file }) => {
      if (!file.startsWith(source)) return undefined
      let text = await readFile(file, 'utf8')
      if (file === path.join(source, 'execute/pools/keptWorkers.js'))
        return { contents: text.replace("'../worker/worker.js'", "'./worker.js'") }
      for (const { whole, file: wanted, group } of onDemand(file, text))
        if (group) {
          const index = grouped.get(group).indexOf(wanted)
          text = text.replace(whole, `import('group:${group}').then((all) => all.m${index})`)
        }
      const relative = path.relative(target, file).split(path.sep).join('/')
      return {
        contents: text.replaceAll('import.meta.url', `new URL(${JSON.stringify(relative)}, import.meta.url).href`),
      }
    })
  },
}

await rm(target, { recursive: true, force: true })
/** Wanted by few runs, and loaded when they want it. */
const external = ['@huggingface/hub', 'listr2', 're2js']

const { metafile } = await build({
  // The pool of workers finds theirs beside itself, which is here. oclif finds all commands by package.json.
  entryPoints: ['commands/main.js', 'commands/all.js', 'execute/worker/worker.js'].map((file) =>
    path.join(source, file),
  ),
  entryNames: '[name]',
  outdir: target,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external,
  // Packages in CommonJS ask for Node's own modules by `require`.
  banner: {
    js: [
      "import { createRequire as requireFrom } from 'node:module'",
      "import { fileURLToPath as pathFrom } from 'node:url'",
      'const require = requireFrom(import.meta.url), __filename = pathFrom(import.meta.url)',
      "const __dirname = pathFrom(new URL('.', import.meta.url))",
      '',
    ].join('\n'),
  },
  // Names stay: they stand in stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
  metafile: true,
  plugins: [groups, addresses],
})

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []),
)
const licences = await Promise.all([...packages].sort().map((folder) => licenceOf(path.resolve(root, folder))))
await writeFile(path.join(target, 'LICENSES.txt'), licences.join('\n'))

async function licenceOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'))
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file ? await readFile(path.join(folder, file), 'utf8') : ''
  return `${name} ${version} (${license})\n\n${text}`
}
