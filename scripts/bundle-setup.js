/** Before any test: what the command loads is what was built. */
export { bundleEngine as setup } from './bundle.js';
