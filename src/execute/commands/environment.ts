/** The environment of a recipe's commands: everything except credentials. */

/** Words in names of credentials. `TOKENIZERS_PARALLELISM` and `KEYBOARD` have none of them. */
const NAMES =
  /SECRET|CREDENTIAL|PASSWORD|PASSWD|PASSPHRASE|^PGPASS|(TOKEN|KEY|PASS|PWD|PAT|AUTH|JWT|COOKIE|BEARER)S?\d*(_|$)|(^|_)(DSN|WEBHOOK|CONNECTION_?STRING)S?(_|$)|^NETRC$/
/** Prefixes of variables about accounts. */
const FAMILIES = /^(AWS|HF|HUGGING_?FACE|HUGGINGFACE_HUB|AZURE|GCP|GOOGLE|WANDB|OPENAI|ANTHROPIC)_/
/** Exceptions: variables about locations or settings. */
const SETTINGS =
  /^(AWS_((DEFAULT_)?REGION|CA_BUNDLE)|(HF|HUGGINGFACE)_(HOME|ENDPOINT|HUB_(CACHE|OFFLINE|VERBOSITY|(ETAG|DOWNLOAD)_TIMEOUT|DISABLE_\w+|ENABLE_\w+)|(DATASETS|EVALUATE|METRICS|MODULES|ASSETS|XET)_\w*(CACHE|OFFLINE))|WANDB_(MODE|DISABLED|SILENT|DIR|PROJECT))$/
/**
 * Credentials by value, whatever their name: an address with a password or key, a token with a known prefix, a request header,
 * a JSON Web Token, a private key.
 */
const VALUES =
  /^[a-z][a-z0-9+.-]*:\/\/([^/\s@]*:)?[^/\s@]+@|^(hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA|ASIA|AIza|npm_|pypi-|ya29\.)[\w-]{8}|^(bearer|basic) |^eyJ[\w-]+\.eyJ|AccountKey=|PRIVATE KEY-----/i

function isCredential(name: string, value: string): boolean {
  const upper = name.toUpperCase()
  // PWD and OLDPWD, the shell's working folders, look like passwords.
  if (upper === 'PWD' || upper === 'OLDPWD' || SETTINGS.test(upper)) return VALUES.test(value)
  return NAMES.test(upper) || FAMILIES.test(upper) || VALUES.test(value)
}

/** The environment without credentials except those in `asked`. `withheld`: the names of the removed variables. */
export function commandEnv(
  env: Readonly<Record<string, string | undefined>>,
  asked: readonly string[] = [],
): { readonly env: Record<string, string>; readonly withheld: readonly string[] } {
  const all = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const withheld = all.filter(([name, value]) => !asked.includes(name) && isCredential(name, value))
  const names = withheld.map(([name]) => name)
  return { env: Object.fromEntries(all.filter(([name]) => !names.includes(name))), withheld: names.sort() }
}
