/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind an option that has keys: name=value,name,... */
#ifndef TINYVMM_KEYS_H
#define TINYVMM_KEYS_H

#define KEYS_PART 4112 /* the longest name=value, with its end */

/* Calls take(to, name, value) for each of them; value is NULL where there is no `=`, and `,,` stands for
 * a comma. 0, or -1 after a complaint, here or of take(), that begins with `option`. */
int keys_parse(const char *option, const char *text,
               int (*take)(void *to, const char *name, const char *value), void *to);

#endif
