/* The DPDK side of `pktpath bench`: one command a line on stdin, one JSON object a line on stdout.
 *
 *   load FILE LENGTH COUNT   COUNT frames of LENGTH bytes, back to back: TCP over IPv4 over Ethernet
 *   gro light BURST RUNS     rte_gro_reassemble_burst, BURST frames a call (at most 128)
 *   gro verify BURST RUNS    the same after rte_ipv4_cksum and rte_ipv4_udptcp_cksum_mbuf_verify of every frame
 *   gro heavy BURST RUNS     rte_gro_reassemble, then rte_gro_timeout_flush of everything
 *   gso SIZE RUNS            rte_gso_segment of the first frame, SIZE payload bytes each, software checksums
 *   gso-headers SIZE RUNS    the same without checksums
 *   cksum LENGTH RUNS        rte_raw_cksum
 *   read LENGTH RUNS         sum of 64-bit words, as wide as the machine loads
 *   memcpy LENGTH RUNS       memcpy
 *   tuples FILE BYTES COUNT KEY  COUNT inputs of BYTES bytes of the Toeplitz hash, as on the wire, and the key in hexadecimal
 *   rss HOW RUNS             their hashes by softrss (rte_softrss_be), gfni (rte_thash_gfni) or bulk (rte_thash_gfni_bulk)
 *   hashes                   the hashes of the last rss run: {"hashes": […]}
 *   frame INDEX              the frames of the last gro or gso run: {"hex": …}
 *
 * "ns" is the median of RUNS timed calls, less what an empty measurement takes. Whatever readies the
 * next call (fresh mbufs, restored headers) is outside the time and leaves the headers in cache.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_gro.h>
#include <rte_gso.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_thash.h>
#include <rte_thash_gfni.h>
#include <rte_version.h>

#define MAX_FRAMES 1024
#define MAX_RUNS 100000
#define MAX_SEGMENTS 128
#define HEADERS (sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr))
#define AREA (1 << 20)
#define MAX_TUPLE 36
#define MAX_KEY 52
/* Not rte_thash_gfni_supported(), which tells what the library was compiled for: these are inline, and compiled here. */
#ifdef RTE_THASH_GFNI_DEFINED
#define HAVE_GFNI 1
#else
#define HAVE_GFNI 0
#endif

static struct rte_mempool *frame_pool, *direct_pool, *indirect_pool;
static struct rte_mbuf *frames[MAX_FRAMES], *burst_of[MAX_FRAMES], *out[MAX_FRAMES + MAX_SEGMENTS];
static uint8_t saved[MAX_FRAMES][128]; /* headers as loaded: merging writes into them */
static uint8_t tuples[MAX_FRAMES][MAX_TUPLE]; /* as on the wire */
static uint32_t words[MAX_FRAMES][MAX_TUPLE / 4]; /* in the order that rte_softrss_be takes */
static uint8_t *tuple_of[MAX_FRAMES], key[MAX_KEY];
static uint32_t converted_key[MAX_KEY / 4], hashes[MAX_FRAMES];
static uint64_t matrices[MAX_KEY];
static int tuple_count, tuple_length;
static int frame_count, frame_length, out_count, segment_count;
static int64_t times[MAX_RUNS], clock_cost;
static uint8_t *area;
static volatile uint64_t sink;

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static double median(int runs)
{
	qsort(times, runs, sizeof(times[0]), by_value);
	return (times[(runs - 1) / 2] + times[runs / 2]) / 2.0;
}

static void measure_clock(void)
{
	int runs = 10001;

	for (int r = 0; r < runs; r++) {
		int64_t start = now();

		times[r] = now() - start;
	}
	clock_cost = (int64_t)median(runs);
}

static void fail(const char *what)
{
	printf("{\"error\": \"%s\"}\n", what);
}

/* A frame as a driver that knows packet types hands it on. */
static void restore(int i, int header_bytes)
{
	struct rte_mbuf *m = frames[i];

	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->data_len = frame_length;
	m->pkt_len = frame_length;
	m->nb_segs = 1;
	m->next = NULL;
	m->ol_flags = 0;
	m->packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP;
	m->l2_len = sizeof(struct rte_ether_hdr);
	m->l3_len = sizeof(struct rte_ipv4_hdr);
	m->l4_len = (saved[i][HEADERS + 12] >> 4) * 4;
	memcpy(rte_pktmbuf_mtod(m, void *), saved[i], header_bytes);
}

static void drop_segments(void)
{
	for (int i = 0; i < segment_count; i++)
		rte_pktmbuf_free(out[i]);
	segment_count = out_count = 0;
}

static void drop_frames(void)
{
	drop_segments();
	for (int i = 0; i < frame_count; i++) {
		restore(i, 0);
		rte_pktmbuf_free(frames[i]);
	}
	frame_count = 0;
}

static void load(const char *path, int length, int count)
{
	FILE *file;

	drop_frames();
	if (length < (int)sizeof(saved[0]) || length > UINT16_MAX - RTE_PKTMBUF_HEADROOM || count < 1 || count > MAX_FRAMES)
		return fail("frames too short, too long or too many");
	if (length > RTE_MBUF_DEFAULT_DATAROOM && count > 1)
		return fail("only one frame of this length");
	file = fopen(path, "rb");
	if (!file)
		return fail("the file of frames cannot be opened");
	frame_length = length;
	for (; frame_count < count; frame_count++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(length > RTE_MBUF_DEFAULT_DATAROOM ? rte_mempool_lookup("large") : frame_pool);

		if (!m || fread(rte_pktmbuf_mtod(m, void *), 1, length, file) != (size_t)length) {
			rte_pktmbuf_free(m);
			fclose(file);
			return fail("the file of frames is too short");
		}
		frames[frame_count] = m;
		memcpy(saved[frame_count], rte_pktmbuf_mtod(m, void *), sizeof(saved[0]));
	}
	fclose(file);
	printf("{\"frames\": %d}\n", frame_count);
}

static int verified(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, m->l2_len);

	return rte_raw_cksum(ip, m->l3_len) == 0xffff && rte_ipv4_udptcp_cksum_mbuf_verify(m, ip, m->l2_len + m->l3_len) == 0;
}

static void gro(int heavy, int verify, int burst, int runs)
{
	/* The smallest table that holds every frame of a burst: linear searches then stay short. */
	struct rte_gro_param param = {
		.gro_types = RTE_GRO_TCP_IPV4, .max_flow_num = burst, .max_item_per_flow = 1, .socket_id = rte_socket_id(),
	};
	void *ctx = NULL;
	uint64_t total_out = 0;
	int wrong = 0;

	if (burst < 1 || burst > frame_count || frame_count % burst || (!heavy && burst > (int)RTE_GRO_MAX_BURST_ITEM_NUM))
		return fail("a burst must divide the frames loaded; a light one is at most 128");
	drop_segments();
	if (heavy && !(ctx = rte_gro_ctx_create(&param)))
		return fail("rte_gro_ctx_create");
	for (int r = 0, first = 0; r < runs; r++, first = (first + burst) % frame_count) {
		uint16_t left, flushed = 0;
		int64_t start;

		for (int i = 0; i < burst; i++) {
			restore(first + i, sizeof(saved[0]));
			burst_of[i] = frames[first + i];
		}
		start = now();
		if (verify)
			for (int i = 0; i < burst; i++)
				wrong += !verified(burst_of[i]);
		if (heavy) {
			left = rte_gro_reassemble(burst_of, burst, ctx);
			flushed = rte_gro_timeout_flush(ctx, 0, RTE_GRO_TCP_IPV4, out, MAX_FRAMES);
		} else {
			left = rte_gro_reassemble_burst(burst_of, burst, &param);
		}
		times[r] = now() - start;
		total_out += left + flushed;
		memcpy(out + flushed, burst_of, left * sizeof(out[0]));
		out_count = left + flushed;
	}
	if (ctx)
		rte_gro_ctx_destroy(ctx);
	if (wrong)
		return fail("a checksum is wrong");
	printf("{\"ns\": %.1f, \"frames_in\": %d, \"frames_out\": %.3f}\n", median(runs) - clock_cost, burst, (double)total_out / runs);
}

static void checksum(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, m->l2_len);
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, m->l2_len + m->l3_len);

	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->cksum = 0;
	tcp->cksum = rte_ipv4_udptcp_cksum_mbuf(m, ip, m->l2_len + m->l3_len);
}

static void gso(int size, int runs, int checksums)
{
	struct rte_gso_ctx ctx = {.direct_pool = direct_pool, .indirect_pool = indirect_pool, .gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO};
	int segments = 0;

	if (frame_count != 1)
		return fail("load one frame");
	for (int r = 0; r < runs; r++) {
		struct rte_mbuf *m = frames[0];
		int64_t start;

		drop_segments();
		restore(0, sizeof(saved[0]));
		m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
		ctx.gso_size = m->l2_len + m->l3_len + m->l4_len + size; /* DPDK counts the headers in */
		start = now();
		segments = rte_gso_segment(m, &ctx, out, MAX_SEGMENTS);
		if (checksums)
			for (int i = 0; i < segments; i++)
				checksum(out[i]);
		times[r] = now() - start;
		if (segments < 1)
			return fail("rte_gso_segment");
		segment_count = out_count = segments;
	}
	printf("{\"ns\": %.1f, \"segments\": %d}\n", median(runs) - clock_cost, segments);
}

typedef uint64_t wide __attribute__((vector_size(64), may_alias));

static uint64_t read_all(const uint8_t *at, size_t length)
{
	const wide *p = (const wide *)at;
	wide a[8] = {0}, sum = {0};
	uint64_t total = 0;
	size_t n = length / sizeof(wide), k = 0;

	for (; k + 8 <= n; k += 8)
		for (int j = 0; j < 8; j++)
			a[j] += p[k + j];
	for (; k < n; k++)
		a[0] += p[k];
	for (int j = 0; j < 8; j++)
		sum += a[j];
	for (int j = 0; j < 8; j++)
		total += sum[j];
	for (k = n * sizeof(wide); k + 8 <= length; k += 8)
		total += *(const uint64_t *)(at + k);
	return total;
}

/* Calls this short are timed by the hundred. */
static void memory(const char *what, int length, int runs)
{
	enum { CALLS = 100 };

	if (length < 1 || length > AREA / 2)
		return fail("a length of 1 to 524288");
	for (int r = 0; r < runs; r++) {
		int64_t start = now();

		for (int k = 0; k < CALLS; k++) {
			if (what[0] == 'c')
				sink += rte_raw_cksum(area, length);
			else if (what[0] == 'r')
				sink += read_all(area, length);
			else
				memcpy(area + AREA / 2, area, length);
			asm volatile("" ::: "memory");
		}
		times[r] = now() - start;
	}
	printf("{\"ns\": %.3f}\n", (median(runs) - clock_cost) / CALLS);
}

static void load_tuples(const char *path, int length, int count, const char *digits)
{
	int key_length = strlen(digits) / 2;
	FILE *file;

	tuple_count = 0;
	if (length < 4 || length > MAX_TUPLE || length % 4 || count < 1 || count > MAX_FRAMES)
		return fail("inputs of 4 to 36 bytes, whole words, at most 1024");
	if (key_length > MAX_KEY || key_length < length + 4 || key_length % 4)
		return fail("a key of whole words, four bytes longer than the input, at most 52 bytes");
	for (int k = 0; k < key_length; k++)
		if (sscanf(digits + 2 * k, "%2hhx", key + k) != 1)
			return fail("the key is not hexadecimal");
	file = fopen(path, "rb");
	if (!file)
		return fail("the file of inputs cannot be opened");
	for (; tuple_count < count; tuple_count++) {
		if (fread(tuples[tuple_count], 1, length, file) != (size_t)length) {
			fclose(file);
			return fail("the file of inputs is too short");
		}
		for (int k = 0; k < length / 4; k++) {
			memcpy(&words[tuple_count][k], tuples[tuple_count] + 4 * k, 4);
			words[tuple_count][k] = rte_be_to_cpu_32(words[tuple_count][k]);
		}
		tuple_of[tuple_count] = tuples[tuple_count];
	}
	fclose(file);
	tuple_length = length;
	rte_convert_rss_key((const uint32_t *)key, converted_key, key_length);
	rte_thash_complete_matrix(matrices, key, key_length);
	printf("{\"tuples\": %d, \"gfni\": %s}\n", tuple_count, HAVE_GFNI ? "true" : "false");
}

static void rss(const char *how, int runs)
{
	int gfni = how[0] != 's', bulk = how[0] == 'b', length = tuple_length, count = tuple_count;

	if (!tuple_count)
		return fail("load tuples");
	if (gfni && !HAVE_GFNI)
		return fail("this processor has no GFNI with AVX-512");
	for (int r = 0; r < runs; r++) {
		int64_t start = now();

		if (bulk)
			rte_thash_gfni_bulk(matrices, length, tuple_of, hashes, count);
		else if (gfni)
			for (int i = 0; i < count; i++)
				hashes[i] = rte_thash_gfni(matrices, tuples[i], length);
		else
			for (int i = 0; i < count; i++)
				hashes[i] = rte_softrss_be(words[i], length / 4, (const uint8_t *)converted_key);
		times[r] = now() - start;
		asm volatile("" ::: "memory");
	}
	printf("{\"ns\": %.1f}\n", median(runs) - clock_cost);
}

static void show_hashes(void)
{
	printf("{\"hashes\": [");
	for (int i = 0; i < tuple_count; i++)
		printf("%s%" PRIu32, i ? ", " : "", hashes[i]);
	printf("]}\n");
}

static void show_frame(int index)
{
	if (index < 0 || index >= out_count)
		return fail("no such frame");
	printf("{\"hex\": \"");
	for (struct rte_mbuf *m = out[index]; m; m = m->next)
		for (int i = 0; i < m->data_len; i++)
			printf("%02x", rte_pktmbuf_mtod(m, uint8_t *)[i]);
	printf("\"}\n");
}

int main(int argc, char **argv)
{
	char line[4096], path[3000], word[16], digits[128];
	int a, b;

	if (rte_eal_init(argc, argv) < 0)
		return 1;
	frame_pool = rte_pktmbuf_pool_create("frames", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, rte_socket_id());
	direct_pool = rte_pktmbuf_pool_create("direct", 1023, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, rte_socket_id());
	indirect_pool = rte_pktmbuf_pool_create("indirect", 1023, 256, 0, 0, rte_socket_id());
	area = rte_zmalloc("area", AREA, 4096);
	if (!frame_pool || !direct_pool || !indirect_pool || !area ||
	    !rte_pktmbuf_pool_create("large", 3, 0, 0, UINT16_MAX, rte_socket_id()))
		return 1;
	measure_clock();
	printf("{\"version\": \"%s\", \"tsc_hz\": %" PRIu64 ", \"clock_ns\": %" PRId64 "}\n", rte_version(), rte_get_tsc_hz(), clock_cost);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "load %2999s %d %d", path, &a, &b) == 3)
			load(path, a, b);
		else if (sscanf(line, "tuples %2999s %d %d %127s", path, &a, &b, digits) == 4)
			load_tuples(path, a, b, digits);
		else if (sscanf(line, "rss %15s %d", word, &a) == 2 && a > 0 && a <= MAX_RUNS)
			rss(word, a);
		else if (!strncmp(line, "hashes", 6))
			show_hashes();
		else if (sscanf(line, "frame %d", &a) == 1)
			show_frame(a);
		else if (sscanf(line, "gro %15s %d %d", word, &a, &b) == 3 && b > 0 && b <= MAX_RUNS)
			gro(word[0] == 'h', word[0] == 'v', a, b);
		else if (sscanf(line, "gso %d %d", &a, &b) == 2 && b > 0 && b <= MAX_RUNS)
			gso(a, b, 1);
		else if (sscanf(line, "gso-headers %d %d", &a, &b) == 2 && b > 0 && b <= MAX_RUNS)
			gso(a, b, 0);
		else if (sscanf(line, "%15s %d %d", word, &a, &b) == 3 && b > 0 && b <= MAX_RUNS)
			memory(word, a, b);
		else
			fail("unknown command");
		fflush(stdout);
	}
	rte_eal_cleanup();
	return 0;
}
