/** What of the environment a command of a recipe gets to see: all but credentials. */

/** Words of names that say that the value is a credential; `TOKENIZERS_PARALLELISM` and `KEYBOARD` have none of them. */
const NAMES =
  /SECRET|CREDENTIAL|PASSWORD|PASSWD|PASSPHRASE|^PGPASS|(TOKEN|KEY|PASS|PWD|PAT|AUTH|JWT|COOKIE|BEARER)S?\d*(_|$)|(^|_)(DSN|WEBHOOK|CONNECTION_?STRING)S?(_|$)|^NETRC$/
/** Families of variables that are about accounts, */
const FAMILIES = /^(AWS|HF|HUGGING_?FACE|HUGGINGFACE_HUB|AZURE|GCP|GOOGLE|WANDB|OPENAI|ANTHROPIC)_/
/** but for those that say where something is, or how to do it. */
const SETTINGS =
  /^(AWS_((DEFAULT_)?REGION|CA_BUNDLE)|(HF|HUGGINGFACE)_(HOME|ENDPOINT|HUB_(CACHE|OFFLINE|VERBOSITY|(ETAG|DOWNLOAD)_TIMEOUT|DISABLE_\w+|ENABLE_\w+)|(DATASETS|EVALUATE|METRICS|MODULES|ASSETS|XET)_\w*(CACHE|OFFLINE))|WANDB_(MODE|DISABLED|SILENT|DIR|PROJECT))$/
/**
 * Whatever its name is: an address with a password or a key in it, a token of a service that marks its own, the header of a request,
 * a JSON Web Token, a private key.
 */
const VALUES =
  /^[a-z][a-z0-9+.-]*:\/\/([^/\s@]*:)?[^/\s@]+@|^(hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA|ASIA|AIza|npm_|pypi-|ya29\.)[\w-]{8}|^(bearer|basic) |^eyJ[\w-]+\.eyJ|AccountKey=|PRIVATE KEY-----/i

function isCredential(name: string, value: string): boolean {
  const upper = name.toUpperCase()
  // A shell's working folder is called like a password.
  if (upper === 'PWD' || upper === 'OLDPWD' || SETTINGS.test(upper)) return VALUES.test(value)
  return NAMES.test(upper) || FAMILIES.test(upper) || VALUES.test(value)
}

/** The environment without credentials, but with those that `asked` names; `withheld` are the names of the others. */
export function commandEnv(
  env: Readonly<Record<string, string | undefined>>,
  asked: readonly string[] = [],
): { readonly env: Record<string, string>; readonly withheld: readonly string[] } {
  const all = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const withheld = all.filter(([name, value]) => !asked.includes(name) && isCredential(name, value))
  const names = withheld.map(([name]) => name)
  return { env: Object.fromEntries(all.filter(([name]) => !names.includes(name))), withheld: names.sort() }
}
