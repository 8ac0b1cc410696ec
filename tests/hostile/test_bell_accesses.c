/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* TIMEOUT: 300 */
/*
 * G20: accesses to doorbells that no driver makes: string and repeated ones, 16 bytes, locked ones, unaligned
 * and across pages, code fetched from there. Each is done, or ends this VM with an event that says why; the
 * loop, and who else is on it, do not notice.
 */
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "bells.h"
#include "kvm_fixture.h"
#include "run.h"
#include "turn.h"

static struct kvm_fixture f;
static struct vdb_loop *loop;

/* rdi = the doorbell. Each ends by ud2, unless it does not come so far. */
GUEST(rep_stos, "mov $64, %ecx\n rep stosl\n ud2");
GUEST(rep_movs_to, "mov $0x300000, %esi\n mov $1024, %ecx\n rep movsl\n ud2");
GUEST(rep_movs_from, "mov %rdi, %rsi\n mov $0x300000, %edi\n mov $1024, %ecx\n rep movsb\n ud2");
GUEST(rep_cmps, "mov $0x300000, %esi\n mov $16, %ecx\n repe cmpsl\n ud2");
GUEST(rep_scas, "mov $16, %ecx\n repne scasl\n ud2");
GUEST(ins_outs, "mov $0x510, %edx\n mov $16, %ecx\n rep insb\n ud2");
GUEST(sixteen, "movups %xmm0, (%rdi)\n movups (%rdi), %xmm1\n ud2");
GUEST(sixteen_unaligned, "movups %xmm0, 0xff8(%rdi)\n ud2");
GUEST(locked_add, "mov $1, %eax\n lock xaddl %eax, (%rdi)\n lock addl $1, (%rdi)\n ud2");
GUEST(locked_swap, "mov $1, %eax\n xchgl %eax, (%rdi)\n lock cmpxchgl %ecx, (%rdi)\n ud2");
GUEST(locked_8, "lock cmpxchg8b (%rdi)\n ud2");
GUEST(locked_16, "lock cmpxchg16b (%rdi)\n ud2");
GUEST(locked_bits, "lock btsl $0, (%rdi)\n lock incq (%rdi)\n lock negb (%rdi)\n ud2");
GUEST(across, "movq $0, 0xffc(%rdi)\n movl $0, -2(%rdi)\n movq $0, 1(%rdi)\n ud2");
GUEST(push, "lea 8(%rdi), %rsp\n push %rax\n ud2");
GUEST(call, "call *(%rdi)\n ud2");
GUEST(x87, "fnstcw (%rdi)\n fnsave (%rdi)\n ud2");
GUEST(fxsave, "fxsave (%rdi)\n ud2");
GUEST(nontemporal, "movnti %eax, (%rdi)\n clflush (%rdi)\n ud2");
GUEST(fetch, "jmp *%rdi");
GUEST(fetch_across, "add $0xffe, %rdi\n jmp *%rdi");

#define ACCESS(name)                             \
	{                                        \
		guest_##name, guest_##name##_end \
	}
static const struct {
	const unsigned char *code, *end;
} accesses[] = {
        ACCESS(rep_stos),     ACCESS(rep_movs_to), ACCESS(rep_movs_from), ACCESS(rep_cmps),
        ACCESS(rep_scas),     ACCESS(ins_outs),    ACCESS(sixteen),       ACCESS(sixteen_unaligned),
        ACCESS(locked_add),   ACCESS(locked_swap), ACCESS(locked_8),      ACCESS(locked_16),
        ACCESS(locked_bits),  ACCESS(across),      ACCESS(push),          ACCESS(call),
        ACCESS(x87),          ACCESS(fxsave),      ACCESS(nontemporal),   ACCESS(fetch),
        ACCESS(fetch_across),
};
#define ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

static void make_loop(void)
{
	struct vdb_loop_config config = test_loop_config();

	must(vdb_loop_create(&config, &loop));
	must(vdb_loop_start(loop, -1, NULL));
	arena_begin(loop);
}

static void end_loop(void)
{
	arena_end();
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
}

static bool is_described(uint32_t kind)
{
	return kind == VDB_EVENT_SHUTDOWN || kind == VDB_EVENT_INTERNAL_ERROR ||
	       kind == VDB_EVENT_RUN_FAILED || kind == VDB_EVENT_UNKNOWN_EXIT;
}

/* Within a minute the guest has ended, or has been stopped where it goes round for ever: code that it fetched
 * may be any. */
static void run_one(uint32_t kind, unsigned which)
{
	struct vdb_doorbell_config config = some(kind, 1);
	struct vdb_doorbell *bell;
	uint32_t stopped = 0;

	kvm_fixture_make(&f, NULL, 1);
	must(vdb_doorbell_create(f.vm, &config, &bell));
	kvm_fixture_load(&f, 0, accesses[which].code, (size_t)(accesses[which].end - accesses[which].code),
	                 vdb_doorbell_addr(bell));
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	for (int i = 0; i < 2000 && !__atomic_load_n(&f.events, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	if (f.events)
		ck_assert_msg(is_described(f.event.kind), "access %u: event %u: %s", which, f.event.kind,
		              f.text);
	vdb_doorbell_destroy(bell);
	kvm_fixture_end(&f);
	memset(&f, 0, sizeof(f));
	arena_goes_on();
}

static void run_all(uint32_t kind)
{
	make_loop();
	for (unsigned i = 0; i < ACCESSES; i++)
		run_one(kind, i);
	end_loop();
}

START_TEST(g20_odd_accesses_to_a_page)
{
	run_all(VDB_DOORBELL_PAGE);
}
END_TEST

START_TEST(g20_odd_accesses_where_nothing_is)
{
	run_all(VDB_DOORBELL_MMIO);
}
END_TEST

/* The page says what it said, whatever was written. */
START_TEST(g20_the_page_stays_what_it_is)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 1);
	unsigned char before[VDB_PAGE_SIZE];
	struct vdb_doorbell *bell;

	make_loop();
	kvm_fixture_make(&f, NULL, 1);
	must(vdb_doorbell_create(f.vm, &config, &bell));
	for (int i = 0; i < 3; i++) {
		f.events = 0;
		if (i == 1)
			LOAD(&f, 0, rep_stos, vdb_doorbell_page(bell) + 8);
		else
			LOAD(&f, 0, rep_movs_from, vdb_doorbell_page(bell));
		must(vdb_vcpu_run(f.vcpu[0]));
		ck_assert_uint_eq(f.events, 1);
		if (i == 0)
			memcpy(before, f.ram + GUEST_DATA, 1024);
	}
	ck_assert_mem_eq(before, f.ram + GUEST_DATA, 1024);
	vdb_doorbell_destroy(bell);
	kvm_fixture_end(&f);
	end_loop();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("bell_accesses");

	kvm_fixture_need();
	tcase_add_test(tc, g20_odd_accesses_to_a_page);
	tcase_add_test(tc, g20_odd_accesses_where_nothing_is);
	tcase_add_test(tc, g20_the_page_stays_what_it_is);
	return test_run_within("bell_accesses", tc, 250);
}
