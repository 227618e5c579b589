/** Fills the templates of cluster jobs. Recipes are from others: nothing of a path is read by a shell, by YAML or by Kubernetes. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

/** The first words of a file that may be replaced. */
export const WRITTEN = '# Written by terge submit'

const template = (name: string): string =>
  readFileSync(new URL(`../../../../recipes/cluster/${name}.template`, import.meta.url), 'utf8')

/** Replaces `{{name}}`. Values are not searched again. */
export const fill = (name: string, values: Readonly<Record<string, string>>): string =>
  template(name).replace(/\{\{(\w+)\}\}/g, (_, key: string) => {
    const value = values[key]
    if (value === undefined) throw new Error(`internal: the template of ${name} has an unknown ${key}`)
    return value
  })

/** A word for a shell: it reads nothing between single quotes. */
export const shell = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/** A value for YAML, as JSON: plain letters only, so that no reader sees a line break or an end of it. */
export const yaml = (value: unknown): string =>
  JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A name for a job: of the recipe, as far as Slurm and Kubernetes accept its letters. */
export function nameOf(recipe: string): string {
  const stem = path.parse(recipe).name.toLowerCase()
  const name = stem.replace(/[^a-z0-9]+/g, '-').slice(0, 30)
  return `terge-${name.replace(/^-+|-+$/g, '') || 'run'}`.replace(/-+$/, '')
}
